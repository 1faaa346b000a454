package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
)

// The servers behind the names that people use.
const (
	packagesCDN = "prod-cdn.packages.k8s.io"
	regional    = "europe-west1-docker.pkg.dev"
	blobs       = "pkg-containers.githubusercontent.com"
)

// hosts are the servers that kboot's defaults name and those that these lead to.
func hosts(www string, target *url.URL) map[string]http.Handler {
	registry := &httputil.ReverseProxy{Rewrite: func(proxied *httputil.ProxyRequest) { proxied.SetURL(target) }}
	return map[string]http.Handler{
		"pkgs.k8s.io":         elsewhere(http.StatusFound, packagesCDN, "", "/repositories/isv:/kubernetes:"),
		packagesCDN:           files(www, packagesCDN),
		"download.docker.com": files(www, "download.docker.com"),
		"registry.k8s.io":     kubernetesRegistry(),
		regional:              moved(regionalPath, "/v2", registry),
		"ghcr.io":             &tokenRegistry{"ghcr.io", registry},
		blobs:                 blobStore(registry),
	}
}

func files(www, host string) http.Handler {
	return http.FileServer(http.Dir(filepath.Join(www, host)))
}

// elsewhere redirects to another host, where what is below a path here is below another path.
func elsewhere(status int, host, here, there string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, found := strings.CutPrefix(r.URL.Path, here)
		if !found {
			http.NotFound(w, r)
			return
		}
		to := url.URL{Scheme: "https", Host: host, Path: there + rest, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, to.String(), status)
	})
}

// moved serves what is below a path here from below another path of a handler.
func moved(here, there string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, found := strings.CutPrefix(r.URL.Path, here)
		if !found {
			http.NotFound(w, r)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = there+rest, ""
		handler.ServeHTTP(w, inner)
	})
}

const regionalPath = "/v2/k8s-artifacts-prod/images"

// kubernetesRegistry says that it is a registry, and sends everybody to one nearby.
func kubernetesRegistry() http.Handler {
	nearby := elsewhere(http.StatusTemporaryRedirect, regional, "/v2", regionalPath)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			w.WriteHeader(http.StatusOK)
			return
		}
		nearby.ServeHTTP(w, r)
	})
}

// tokenRegistry gives everybody a token for the repository that they ask for, and nothing without one. Its blobs are elsewhere.
type tokenRegistry struct {
	name     string
	registry http.Handler
}

func (t *tokenRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		t.grant(w, r)
		return
	}
	repository, kind, reference, ok := parts(r.URL.Path)
	// Without a repository there still is a token to be had, as of a client that only asks what this is.
	scope := "repository:user/image:pull"
	if ok {
		scope = "repository:" + repository + ":pull"
	}
	if r.Header.Get("Authorization") != "Bearer "+token(scope) {
		challenge := fmt.Sprintf("Bearer realm=%q,service=%q,scope=%q", "https://"+t.name+"/token", t.name, scope)
		w.Header().Set("WWW-Authenticate", challenge)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	if kind == "blobs" {
		to := url.URL{Scheme: "https", Host: blobs, Path: "/ghcr1/blobs/" + reference}
		to.RawQuery = url.Values{"repository": {repository}, "sig": {token(repository + reference)}}.Encode()
		http.Redirect(w, r, to.String(), http.StatusTemporaryRedirect)
		return
	}
	t.registry.ServeHTTP(w, r)
}

func (t *tokenRegistry) grant(w http.ResponseWriter, r *http.Request) {
	scope := r.URL.Query().Get("scope")
	if r.URL.Query().Get("service") != t.name || !strings.HasPrefix(scope, "repository:") || !strings.HasSuffix(scope, ":pull") {
		refuse(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A client that has gone away needs no token.
	_ = json.NewEncoder(w).Encode(map[string]string{"token": token(scope)})
}

// blobStore gives a blob to those whom the registry has sent, and to nobody else.
func blobStore(registry http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest, found := strings.CutPrefix(r.URL.Path, "/ghcr1/blobs/")
		repository := r.URL.Query().Get("repository")
		if !found || r.URL.Query().Get("sig") != token(repository+digest) {
			http.Error(w, "the signature is missing or wrong", http.StatusForbidden)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath, inner.URL.RawQuery = "/v2/"+repository+"/blobs/"+digest, "", ""
		registry.ServeHTTP(w, inner)
	})
}

// parts reads /v2/REPOSITORY/manifests/TAG and /v2/REPOSITORY/blobs/DIGEST.
func parts(path string) (repository, kind, reference string, ok bool) {
	rest, found := strings.CutPrefix(path, "/v2/")
	for _, kind := range []string{"manifests", "blobs"} {
		if at := strings.LastIndex(rest, "/"+kind+"/"); found && at > 0 {
			return rest[:at], kind, rest[at+len(kind)+2:], true
		}
	}
	return "", "", "", false
}

// token is opaque to clients, and good for one purpose.
func token(purpose string) string {
	sum := sha256.Sum256([]byte("lab " + purpose))
	return hex.EncodeToString(sum[:])
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
