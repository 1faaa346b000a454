package main

import (
	"encoding/binary"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

const (
	typeA    = 1
	nxdomain = 3
	// A header of six numbers of two octets.
	headerLength = 12
)

// Nobody has this address (RFC 5737), and the lab's gateway drops what is sent there: a host that does not answer.
var silence = netip.MustParseAddr("192.0.2.1")

// resolver knows these hosts, all at one address, and no other name.
func resolver(at netip.Addr, hosts map[string]http.Handler, faults *faults) func(string, net.Addr) (netip.Addr, bool) {
	return func(name string, client net.Addr) (netip.Addr, bool) {
		fault, err := faults.next(lookup, client, name, "")
		switch {
		case err != nil:
			log.Print(err)
			return at, false
		case fault == nil:
			return at, hosts[name] != nil
		default:
			return silence, fault.value == "silent" && hosts[name] != nil
		}
	}
}

// answer is a name server for what a function resolves.
func answer(conn net.PacketConn, resolve func(name string, client net.Addr) (netip.Addr, bool)) error {
	buffer := make([]byte, 1500)
	for {
		length, client, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		name, kind, end, ok := question(buffer[:length])
		if !ok {
			continue
		}
		address, known := resolve(name, client)
		// A question that cannot be answered any more is its asker's loss.
		_, _ = conn.WriteTo(reply(buffer[:end], kind, address, known), client)
	}
}

// question reads a query's one question: its name, its type, and where it ends.
func question(query []byte) (name string, kind uint16, end int, ok bool) {
	if len(query) < headerLength || query[2]&0x80 != 0 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return
	}
	var labels []string
	at := headerLength
	for at < len(query) && query[at] != 0 {
		next := at + 1 + int(query[at])
		if query[at] > 63 || next > len(query) {
			return
		}
		labels = append(labels, strings.ToLower(string(query[at+1:next])))
		at = next
	}
	end = at + 5
	if end > len(query) {
		return
	}
	return strings.Join(labels, "."), binary.BigEndian.Uint16(query[at+1:]), end, true
}

// reply answers the question that a query begins with. A name that is known has an IPv4 address and nothing else.
func reply(query []byte, kind uint16, address netip.Addr, known bool) []byte {
	message := append([]byte{}, query...)
	answers := uint16(0)
	if known && kind == typeA {
		answers = 1
	}
	// A response, recursion desired as it was asked for, and available.
	message[2], message[3] = 0x80|query[2]&0x01, 0x80
	if !known {
		message[3] |= nxdomain
	}
	binary.BigEndian.PutUint16(message[6:], answers)
	binary.BigEndian.PutUint32(message[8:], 0)
	if answers == 1 {
		// The question's name, type A, class IN, to be kept for no time, and four octets.
		message = append(message, 0xc0, headerLength, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4)
		message = append(message, address.AsSlice()...)
	}
	return message
}
