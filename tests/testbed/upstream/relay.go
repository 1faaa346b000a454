package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// How long a server outside may take to answer before it counts as one that does not.
const patience = 5 * time.Second

// enter is the lab's end of the relay: every name resolves to its address, and what connects to port 443 there is taken, by the name
// that its TLS handshake asks for, through a Unix socket to the other end, which is in the machine's network.
func enter(address, socket string) error {
	at, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	names, listener, err := listen(address)
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() {
		failed <- answer(names, func(string, net.Addr) (netip.Addr, bool) { return at, true })
	}()
	go func() {
		failed <- accept(listener, func(conn net.Conn) error { return forward(conn, socket) })
	}()
	return <-failed
}

// leave is the other end: it connects to the servers.
func leave(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return accept(listener, func(conn net.Conn) error {
		reader := bufio.NewReaderSize(conn, 512)
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		name := strings.TrimSpace(string(line))
		server, err := net.DialTimeout("tcp", net.JoinHostPort(name, "443"), patience)
		if err != nil {
			return err
		}
		defer server.Close()
		return join(conn, reader, server)
	})
}

func accept(listener net.Listener, serve func(net.Conn) error) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := serve(conn); err != nil {
				log.Printf("%s: %v", conn.RemoteAddr(), err)
			}
		}()
	}
}

// A peeked connection keeps what is read from it and sends nothing.
type peeked struct {
	net.Conn
	read bytes.Buffer
}

func (p *peeked) Read(data []byte) (int, error) {
	length, err := p.Conn.Read(data)
	p.read.Write(data[:length])
	return length, err
}

func (p *peeked) Write(data []byte) (int, error) { return len(data), nil }

var errSeen = errors.New("the name is known")

func forward(conn net.Conn, socket string) error {
	seen := &peeked{Conn: conn}
	name := ""
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	err := tls.Server(seen, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name = hello.ServerName
		return nil, errSeen
	}}).Handshake()
	if name == "" {
		return fmt.Errorf("no server is named: %w", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	other, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer other.Close()
	if _, err := fmt.Fprintln(other, name); err != nil {
		return err
	}
	return join(conn, io.MultiReader(&seen.read, conn), other)
}

// join copies both ways until both are at their ends. What came of the first connection is read from a reader of its own.
func join(first net.Conn, from io.Reader, second net.Conn) error {
	ended := make(chan error)
	pass := func(to net.Conn, from io.Reader) {
		_, err := io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		ended <- err
	}
	go pass(second, from)
	go pass(first, second)
	return errors.Join(<-ended, <-ended)
}

// reach asks each of these URLs as the relay would, without a proxy. An answer of any kind but a server's failure will do.
func reach(urls []string) error {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	failed := make(chan error)
	for _, url := range urls {
		go func() { failed <- reached(client, url) }()
	}
	var err error
	for range urls {
		err = errors.Join(err, <-failed)
	}
	return err
}

func reached(client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
