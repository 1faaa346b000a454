package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// What a fault can be done to.
type stage int

const (
	lookup stage = iota
	handshake
	request
)

// The actions, each with the stage that it belongs to and its values; no values means a whole number.
var actions = map[string]struct {
	stage  stage
	values []string
}{
	"name":        {lookup, []string{"silent", "unknown"}},
	"certificate": {handshake, []string{"untrusted", "expired", "not-yet"}},
	"answer":      {request, nil},
	"page":        {request, []string{"login"}},
	"variant":     {request, []string{"expired", "soon"}},
	"cut":         {request, []string{"half", ""}},
	"clock":       {request, nil},
}

// A fault is a line of the faults file: `every=5 host=ghcr.io answer=503 retry-after=2`.
type fault struct {
	text              string
	from, host, path  string
	every, times      int
	action, value     string
	retryAfter        string
	matched, happened int
}

// faults are those of a file, which is read again whenever its text has changed; all counters then begin anew.
type faults struct {
	file  string
	mutex sync.Mutex
	text  string
	list  []*fault
	err   error
}

// next is the fault that happens to what is done now at a stage, if any. Lines count in their order: one that happens hides what
// it happens to from the lines below it.
func (f *faults) next(stage stage, from net.Addr, host, path string) (*fault, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.read()
	if f.err != nil {
		return nil, f.err
	}
	for _, fault := range f.list {
		if !fault.meets(stage, from, host, path) || fault.times > 0 && fault.happened == fault.times {
			continue
		}
		fault.matched++
		if fault.matched%fault.every == 0 {
			fault.happened++
			return fault, nil
		}
	}
	return nil, nil
}

func (f *fault) meets(stage stage, from net.Addr, host, path string) bool {
	client, _, err := net.SplitHostPort(from.String())
	return err == nil && actions[f.action].stage == stage && strings.Contains(path, f.path) &&
		(f.from == "" || f.from == client) && (f.host == "" || f.host == host)
}

func (f *faults) read() {
	text, err := os.ReadFile(f.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.text, f.list, f.err = "", nil, err
		return
	}
	if string(text) == f.text && f.err == nil {
		return
	}
	f.text, f.list, f.err = string(text), nil, nil
	for line := range strings.Lines(f.text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fault, err := parse(line)
		if err != nil {
			f.err = fmt.Errorf("the fault %q: %w", line, err)
			return
		}
		f.list = append(f.list, fault)
	}
}

func parse(line string) (*fault, error) {
	fault := &fault{text: line, every: 1}
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "from":
			fault.from = value
		case "host":
			fault.host = value
		case "path":
			fault.path = value
		case "every":
			fault.every, err = positive(value)
		case "times":
			fault.times, err = positive(value)
		case "retry-after":
			fault.retryAfter = value
			_, err = positive(value)
		default:
			if fault.action != "" {
				return nil, fmt.Errorf("%s is a second action, or unknown", word)
			}
			fault.action, fault.value = key, value
			err = check(key, value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
	}
	if fault.action == "" {
		return nil, errors.New("it has no action")
	}
	return fault, nil
}

func check(action, value string) error {
	known, found := actions[action]
	if !found {
		return errors.New("unknown")
	}
	isNumber := known.values == nil
	for _, possible := range known.values {
		if value == possible && value != "" {
			return nil
		}
		isNumber = isNumber || possible == ""
	}
	if !isNumber {
		return fmt.Errorf("its values are %s", strings.Join(known.values, " and "))
	}
	_, err := positive(value)
	return err
}

func positive(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err == nil && number < 1 {
		err = errors.New("it is less than 1")
	}
	return number, err
}
