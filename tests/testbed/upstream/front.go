package main

import (
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// connection is the key of a request's connection in its context.
type connection struct{}

// front hands a request to the host that it is for, unless a fault comes between, and writes down what became of it.
type front struct {
	hosts  map[string]http.Handler
	faults *faults
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	conn := r.Context().Value(connection{}).(*tls.Conn)
	fault, err := f.faults.next(request, conn.RemoteAddr(), host, r.URL.Path)
	response := &response{ResponseWriter: w, conn: conn, left: -1}
	text := ""
	if fault != nil {
		text = ": " + fault.text
	}
	defer func() {
		log.Printf("%s %s %s %d%s", host, r.Method, r.URL.Path, response.status, text)
	}()
	handler := f.hosts[host]
	switch {
	case err != nil:
		// Nothing works, so that no test takes a fault that is none for one.
		http.Error(response, err.Error(), http.StatusInternalServerError)
	case handler == nil:
		http.Error(response, "nothing here answers for "+host, http.StatusMisdirectedRequest)
	case fault == nil:
		handler.ServeHTTP(response, r)
	default:
		disturb(fault, handler, response, r)
	}
}

func disturb(fault *fault, handler http.Handler, w *response, r *http.Request) {
	switch fault.action {
	case "answer":
		if fault.retryAfter != "" {
			w.Header().Set("Retry-After", fault.retryAfter)
		}
		// It was read as a number.
		status, _ := strconv.Atoi(fault.value)
		http.Error(w, http.StatusText(status), status)
	case "page":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!DOCTYPE html>\n<html><head><title>Guest network</title></head><body><form>Log in to go on.</form></body></html>\n"))
	case "variant":
		inner := r.Clone(r.Context())
		// Whoever was redirected asks by the variant's name.
		inner.URL.Path, inner.URL.RawPath = strings.TrimSuffix(r.URL.Path, "."+fault.value)+"."+fault.value, ""
		handler.ServeHTTP(w, inner)
	case "clock":
		days, _ := strconv.Atoi(fault.value)
		w.Header().Set("Date", time.Now().UTC().AddDate(0, 0, days).Format(http.TimeFormat))
		handler.ServeHTTP(w, r)
	case "cut":
		w.cut = fault.value
		handler.ServeHTTP(w, r)
		if fault.value == "half" {
			// What has no body is lost as a whole.
			w.abort()
		}
	}
}

// response is what a client gets; `cut` says how much of a body: half, or so many bytes of a longer one.
type response struct {
	http.ResponseWriter
	conn   *tls.Conn
	status int
	cut    string
	// How much of the body may still be written; no limit if it is negative.
	left int64
}

func (r *response) WriteHeader(status int) {
	r.status = status
	length, err := strconv.ParseInt(r.Header().Get("Content-Length"), 10, 64)
	if r.cut == "half" {
		r.left = length / 2
	} else if limit, isNumber := strconv.ParseInt(r.cut, 10, 64); isNumber == nil && err == nil && length > limit {
		r.left = limit
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(data []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.left < 0 || int64(len(data)) <= r.left {
		if r.left >= 0 {
			r.left -= int64(len(data))
		}
		return r.ResponseWriter.Write(data)
	}
	// Whether it arrives does not matter any more.
	_, _ = r.ResponseWriter.Write(data[:r.left])
	_ = http.NewResponseController(r.ResponseWriter).Flush()
	r.abort()
	return 0, http.ErrAbortHandler
}

// Flush is for the proxy, which passes on what it gets as it gets it.
func (r *response) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// abort ends the connection with everything on it.
func (r *response) abort() {
	_ = r.conn.NetConn().Close()
	panic(http.ErrAbortHandler)
}
