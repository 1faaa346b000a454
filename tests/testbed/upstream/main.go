// Upstream gives a lab the servers that kboot's defaults name, in one of two ways.
//
// `upstream serve` stands for them. It answers for their names and serves, over TLS, a lab's repositories and registry in their
// layouts, with their redirects and tokens. A file of faults, which may change at any time, makes it misbehave; the README beside
// this folder describes it.
//
// `upstream enter` and `upstream leave` are the two ends of a relay to the real ones. `upstream reach` tells whether they answer.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if len(os.Args) < 2 {
		log.Fatal("usage: upstream serve|enter|leave|reach …")
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func run(command string, arguments []string) error {
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	address := flags.String("address", "", "the IPv4 address to serve at, by DNS on port 53 and TLS on port 443")
	socket := flags.String("socket", "", "enter, leave: the Unix socket between the two")
	www := flags.String("www", "", "serve: the folder with a subfolder for each host that serves files")
	registry := flags.String("registry", "", "serve: the URL of the registry that has the images")
	file := flags.String("faults", "", "serve: the file with the faults")
	roots := flags.String("roots", "", "serve: where to write the certificate of the CA")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	switch command {
	case "serve":
		return serve(*address, *www, *registry, &faults{file: *file}, *roots)
	case "enter":
		return enter(*address, *socket)
	case "leave":
		return leave(*socket)
	case "reach":
		return reach(flags.Args())
	default:
		return fmt.Errorf("unknown command %q", command)
	}
}

func serve(address, www, registry string, faults *faults, roots string) error {
	at, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	target, err := url.Parse(registry)
	if err != nil {
		return err
	}
	hosts := hosts(www, target)
	issuer, err := newIssuer(faults)
	if err != nil {
		return err
	}
	names, listener, err := listen(address)
	if err != nil {
		return err
	}
	// Whoever waits for this file finds both ports open.
	if err := issuer.write(roots); err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- answer(names, resolver(at, hosts, faults)) }()
	server := &http.Server{
		Handler:           &front{hosts, faults},
		ReadHeaderTimeout: time.Minute,
		// A resumed session would not show the certificate that a fault asks for.
		TLSConfig: &tls.Config{GetCertificate: issuer.certificate, SessionTicketsDisabled: true},
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connection{}, conn)
		},
	}
	go func() { failed <- server.ServeTLS(listener, "", "") }()
	return <-failed
}

// listen opens the ports of DNS and of TLS.
func listen(address string) (net.PacketConn, net.Listener, error) {
	names, err := net.ListenPacket("udp", net.JoinHostPort(address, "53"))
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "443"))
	return names, listener, err
}

// replace writes a file so that nobody reads half of it.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".part", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
