// Upstream stands in a lab for the servers that kboot's defaults name. It answers for their names and serves, over TLS, a lab's
// repositories and registry in their layouts, with their redirects and tokens. A file of faults, which may change at any time,
// makes it misbehave; the README beside this folder describes it.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

func main() {
	address := flag.String("address", "", "the IPv4 address to serve at, by DNS on port 53 and HTTPS on port 443")
	www := flag.String("www", "", "the folder with a subfolder for each host that serves files")
	registry := flag.String("registry", "", "the URL of the registry that has the images")
	file := flag.String("faults", "", "the file with the faults")
	roots := flag.String("roots", "", "where to write the certificate of the CA")
	flag.Parse()
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if err := serve(*address, *www, *registry, &faults{file: *file}, *roots); err != nil {
		log.Fatal(err)
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
	names, err := net.ListenPacket("udp", net.JoinHostPort(address, "53"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "443"))
	if err != nil {
		return err
	}
	// Whoever waits for this file finds both ports open.
	if err := issuer.write(roots); err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- answer(names, at, hosts, faults) }()
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

// replace writes a file so that nobody reads half of it.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".part", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
