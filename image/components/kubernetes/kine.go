package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/k3s-io/kine/pkg/drivers"
	"github.com/k3s-io/kine/pkg/drivers/sqlite"
	"github.com/k3s-io/kine/pkg/server"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	// synchronous=FULL: what the API server was told is written has reached the disk, whenever the power goes.
	sqliteParameters = "_journal_mode=WAL&_synchronous=FULL&_busy_timeout=30000&_txlock=immediate"

	// Of etcd, as far as the API server asks before it uses a feature.
	emulatedEtcd = "3.6.11"

	// All writes come through this process, which wakes its watchers itself; polling only finds what another wrote.
	pollInterval   = 10 * time.Second
	notifyInterval = 5 * time.Second
	pollBatch      = 500

	// The API server asks for compaction; a revision that is newer than these is kept all the same.
	compactTimeout   = 5 * time.Second
	compactMinRetain = 1000
	compactBatch     = 1000

	// An object may have 1.5 MiB in etcd; its messages a little more.
	requestMaxBytes  = 2 << 20
	responseMaxBytes = 1<<31 - 1
	stopTimeout      = 2 * time.Second

	// As etcd.
	pingMin = 5 * time.Second
)

// newKineCommand is the cluster's data store: etcd's API on a Unix socket, kept in a SQLite database. Of kine's own program it
// leaves out every other driver and every listener on the network.
func newKineCommand() *cobra.Command {
	var database, socket string
	command := &cobra.Command{
		Use:           "kine",
		Short:         "Serve etcd's API from a SQLite database",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: false,
		RunE: func(command *cobra.Command, _ []string) error {
			context, stop := signal.NotifyContext(command.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return serveDatabase(context, database, socket)
		},
	}
	command.Flags().StringVar(&database, "database", "", "file of the database; made if it is missing")
	command.Flags().StringVar(&socket, "socket", "", "Unix socket to listen on")
	for _, flag := range []string{"database", "socket"} {
		if err := command.MarkFlagRequired(flag); err != nil {
			panic(err)
		}
	}
	return command
}

func serveDatabase(stopped context.Context, database, socket string) error {
	if err := os.MkdirAll(filepath.Dir(database), 0o700); err != nil {
		return err
	}
	// Not ended by stopped: calls that are being answered still need it.
	running, end := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer end()
	_, backend, err := sqlite.New(running, &workers, &drivers.Config{
		DataSourceName:   database + "?" + sqliteParameters,
		CompactTimeout:   compactTimeout,
		CompactMinRetain: compactMinRetain,
		CompactBatchSize: compactBatch,
		PollInterval:     pollInterval,
		PollBatchSize:    pollBatch,
	})
	if err != nil {
		return fmt.Errorf("opening %s: %w", database, err)
	}
	if err := backend.Start(running); err != nil {
		return fmt.Errorf("starting with %s: %w", database, err)
	}
	api := grpc.NewServer(
		grpc.MaxRecvMsgSize(requestMaxBytes),
		grpc.MaxSendMsgSize(responseMaxBytes),
		// The API server pings more often than gRPC takes without a word.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingMin}),
	)
	server.New(backend, "unix", notifyInterval, emulatedEtcd).Register(api)
	listener, err := listen(socket)
	if err != nil {
		return err
	}
	go func() {
		<-stopped.Done()
		timer := time.AfterFunc(stopTimeout, api.Stop)
		defer timer.Stop()
		api.GracefulStop()
	}()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	return api.Serve(listener)
}

// listen takes the place of what a former run left behind.
func listen(socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}
