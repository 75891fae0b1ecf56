package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"

	"github.com/kipass/kipass/visitserver"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// serve runs the server of a folder on its store, a TCP address and the operator's socket, and writes "ready URL" to
// stdout when it takes requests.
func serve(ctx context.Context, folder visitserver.Folder, listen string, logger *slog.Logger, stdout io.Writer) (err error) {
	secrets, err := folder.Secrets() // first: a folder that holds no server must not get a store
	if err != nil {
		return err
	}
	visits, err := embedded.Open(folder.Visits(), embedded.Options{Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, visits.Close()) }()
	public, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	operator, err := listenUnix(folder.Socket())
	if err != nil {
		return errors.Join(err, public.Close())
	}
	return visitserver.Run(ctx, visitserver.Config{
		Folder: folder, Secrets: secrets, Store: visits, Public: public, Operator: operator, Logger: logger,
		Ready: func() { fmt.Fprintf(stdout, "ready https://%s\n", public.Addr()) },
	})
}

// listenUnix makes the operator's socket, for this user alone. A socket left by a server that was killed is removed: the
// store's lock, taken before, shows that no other server lives here.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for the operator: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
