package main

import (
	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"

	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/internal/secretdir"
	"github.com/kipass/kipass/internal/startup"
	"github.com/kipass/kipass/internal/unixpath"
	"github.com/kipass/kipass/visitserver"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

func serveCommand() *cobra.Command {
	var folder visitserver.Folder
	listen := ":8443"
	about := "서비스를 시작합니다 / serve terminals, facility managers and the health authority"
	cmd := cli.Command("serve", about, nil)
	cmd.Long = "요청을 받을 수 있게 되면 \"ready URL\" 한 줄을 출력합니다. / " +
		"It prints one line \"ready URL\" on standard output when requests are taken."
	dataFlag(cmd, &folder)
	secretsFlag(cmd, &folder)
	flags := cli.FlagsOf(cmd)
	flags.Listen(&listen)
	newLogger := flags.LogLevel()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return serve(cmd.Context(), folder, listen, newLogger(cmd.ErrOrStderr()), cmd.OutOrStdout())
	}
	return cmd
}

// serve runs the server of a folder on its store, a TCP address and the operator's socket, and writes "ready URL" to
// stdout when it takes requests.
func serve(ctx context.Context, folder visitserver.Folder, listen string, logger *slog.Logger, stdout io.Writer) (err error) {
	secrets, err := folder.Unlock() // first: a folder that holds no server must not get a store
	if err != nil {
		return err
	}
	if err := secretdir.Warn(logger, folder.Dir, folder.SecretDir()); err != nil {
		return err
	}
	space, err := diskspace.Open(diskspace.Options{Dir: folder.Visits(), Logger: logger})
	if err != nil {
		return err
	}
	open := func() (*embedded.Store, error) {
		return embedded.Open(folder.Visits(), embedded.Options{Logger: logger})
	}
	visits, err := startup.Within(ctx, startup.Limit, "the store", open, (*embedded.Store).Close)
	if ctx.Err() != nil { // asked to end before it was there
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, startup.Close("the store", visits.Close)) }()
	public, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	operator, err := listenUnix(folder.Socket())
	if err != nil {
		return errors.Join(err, public.Close())
	}
	now, elapsed := clock()
	return visitserver.Run(ctx, visitserver.Config{
		Folder: folder, Secrets: secrets, Store: visits, Public: public, Operator: operator, Logger: logger, Space: space,
		Now: now, Elapsed: elapsed,
		Ready: func() { fmt.Fprintf(stdout, "ready https://%s\n", public.Addr()) },
	})
}

// listenUnix makes the operator's socket, for this user alone. A socket left by a server that was killed is removed: the
// store's lock, taken before, shows that no other server lives here.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing the old socket: %w", err)
	}
	short, release, err := unixpath.Short(path)
	if err != nil {
		return nil, fmt.Errorf("listening for the operator: %w", err)
	}
	l, err := net.Listen("unix", short)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for the operator: %w", err), release())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close(), release())
	}
	return shortListener{l, sync.OnceValue(release)}, nil
}

// shortListener gives its path up once it is closed.
type shortListener struct {
	net.Listener
	release func() error
}

func (l shortListener) Close() error { return errors.Join(l.Listener.Close(), l.release()) }
