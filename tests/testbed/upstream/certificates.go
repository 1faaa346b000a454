package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"time"
)

const (
	hour = time.Hour
	year = 365 * 24 * hour
)

// authority is a CA whose key is nowhere but here.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issuer makes a server's certificate when it is first asked for: by the CA that hosts trust, unless a fault wants another.
type issuer struct {
	trusted, untrusted *authority
	faults             *faults
	mutex              sync.Mutex
	issued             map[string]*tls.Certificate
}

func newIssuer(faults *faults) (*issuer, error) {
	trusted, err := newAuthority("kboot testbed CA")
	if err != nil {
		return nil, err
	}
	untrusted, err := newAuthority("kboot testbed CA that nobody trusts")
	if err != nil {
		return nil, err
	}
	return &issuer{trusted: trusted, untrusted: untrusted, faults: faults, issued: map[string]*tls.Certificate{}}, nil
}

// write puts the CA that hosts are to trust into a file.
func (i *issuer) write(path string) error {
	return replace(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.trusted.certificate.Raw}))
}

func (i *issuer) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	fault, err := i.faults.next(handshake, hello.Conn.RemoteAddr(), hello.ServerName, "")
	if err != nil {
		return nil, err
	}
	by, from, until := i.trusted, -hour, year
	kind := ""
	if fault != nil {
		kind = fault.value
		switch kind {
		case "untrusted":
			by = i.untrusted
		case "expired":
			from, until = -year, -24*hour
		case "not-yet":
			from, until = 24*hour, year
		}
	}
	i.mutex.Lock()
	defer i.mutex.Unlock()
	name := hello.ServerName + " " + kind
	if i.issued[name] == nil {
		if i.issued[name], err = by.issue(hello.ServerName, from, until); err != nil {
			return nil, err
		}
	}
	return i.issued[name], nil
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-2 * year),
		NotAfter:              time.Now().Add(10 * year),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

func (a *authority) issue(name string, from, until time.Duration) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(from),
		NotAfter:     time.Now().Add(until),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
