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
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const (
	containerd = "/run/containerd/containerd.sock"
	retry      = 20 * time.Millisecond
)

var programs = map[string]func() *cobra.Command{
	"kubelet": func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
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
	command := program()
	awaitContainerd()
	os.Exit(cli.Run(command))
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
