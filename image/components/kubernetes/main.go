// Command kubernetes is the node's Kubernetes programs in one binary, chosen by the name it is called by:
// the programs share their pages in memory and most of their code on disk.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const (
	containerd = "/run/containerd/containerd.sock"
	retry      = 20 * time.Millisecond
)

var programs = map[string]func() *cobra.Command{
	"kine":                    newKineCommand,
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": manager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 newKubeletCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	program, known := programs[name]
	if !known {
		names := make([]string, 0, len(programs))
		for n := range programs {
			names = append(names, n)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "%s: call me by one of these names: %v\n", name, names)
		os.Exit(2)
	}
	os.Exit(cli.Run(program()))
}

func newKubeletCommand() *cobra.Command {
	command := kubelet.NewKubeletCommand(context.Background())
	awaitContainerd()
	return command
}

// awaitContainerd returns once containerd accepts connections: the kubelet ends when it does not, and both start up at
// the same time. PID 1 limits how long this may take.
func awaitContainerd() {
	for {
		connection, err := net.Dial("unix", containerd)
		if err == nil {
			connection.Close()
			return
		}
		time.Sleep(retry)
	}
}
