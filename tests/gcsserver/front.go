package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// front turns requests of the XML API into those of the JSON API.
type front struct {
	server  *fakestorage.Server
	inner   http.Handler
	mutex   sync.Mutex
	next    int
	uploads map[string]*upload
}

type upload struct {
	path  string
	parts map[int][]byte
}

const pageSize = 1000

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/storage/v1/") || strings.HasPrefix(r.URL.Path, "/_internal/") {
		f.inner.ServeHTTP(w, r)
		return
	}
	bucket, object, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	if answer := f.ask(http.MethodGet, "/storage/v1/b/"+url.PathEscape(bucket), nil, nil); answer.Code != http.StatusOK {
		fail(w, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist.")
		return
	}
	switch {
	case object == "" && r.Method == http.MethodGet:
		f.list(w, bucket, query)
	case r.Method == http.MethodPost && query.Has("uploads"):
		f.begin(w, r.URL.Path)
	case query.Has("uploadId"):
		f.multipart(w, r, bucket, object, query)
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			fail(w, http.StatusBadRequest, "IncompleteBody", err.Error())
			return
		}
		f.put(w, bucket, object, r.Header.Get("X-Goog-If-Generation-Match"), body)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		inner := r.Clone(r.Context())
		inner.URL = jsonPath("/download/storage/v1/b/", bucket, object)
		f.answer(w, func(recorded http.ResponseWriter) { f.inner.ServeHTTP(recorded, inner) })
	case r.Method == http.MethodDelete:
		answer := f.ask(http.MethodDelete, jsonPath("/storage/v1/b/", bucket, object).RequestURI(), nil, nil)
		if answer.Code == http.StatusNotFound {
			fail(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		fail(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "The method is not allowed.")
	}
}

func jsonPath(start, bucket, object string) *url.URL {
	escaped := start + url.PathEscape(bucket) + "/o/" + url.PathEscape(object)
	plain := start + bucket + "/o/" + object
	return &url.URL{Path: plain, RawPath: escaped}
}

// answer passes on what the inner handler says, with an error document where an object is missing.
func (f *front) answer(w http.ResponseWriter, serve func(http.ResponseWriter)) {
	recorded := httptest.NewRecorder()
	serve(recorded)
	if recorded.Code == http.StatusNotFound {
		fail(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		return
	}
	for name, values := range recorded.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(recorded.Code)
	io.Copy(w, recorded.Body)
}

func (f *front) ask(method, path string, query url.Values, body []byte) *httptest.ResponseRecorder {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	recorded := httptest.NewRecorder()
	f.inner.ServeHTTP(recorded, httptest.NewRequest(method, path, bytes.NewReader(body)))
	return recorded
}

func (f *front) put(w http.ResponseWriter, bucket, object, generation string, body []byte) bool {
	query := url.Values{"uploadType": {"media"}, "name": {object}}
	if generation != "" {
		query.Set("ifGenerationMatch", generation)
	}
	f.mutex.Lock()
	answer := f.ask(http.MethodPost, "/upload/storage/v1/b/"+url.PathEscape(bucket)+"/o", query, body)
	f.mutex.Unlock()
	if answer.Code == http.StatusPreconditionFailed {
		fail(w, answer.Code, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
		return false
	}
	stored, err := f.server.GetObject(bucket, object)
	if answer.Code != http.StatusOK || err != nil {
		fail(w, http.StatusInternalServerError, "InternalError", answer.Body.String())
		return false
	}
	w.Header().Set("ETag", strconv.Quote(stored.Etag))
	w.Header().Set("X-Goog-Generation", strconv.FormatInt(stored.Generation, 10))
	return true
}

func (f *front) begin(w http.ResponseWriter, path string) {
	f.mutex.Lock()
	f.next++
	id := strconv.Itoa(f.next)
	f.uploads[id] = &upload{path: path, parts: map[int][]byte{}}
	f.mutex.Unlock()
	reply(w, struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadId string
	}{UploadId: id})
}

func (f *front) multipart(w http.ResponseWriter, r *http.Request, bucket, object string, query url.Values) {
	id := query.Get("uploadId")
	body, err := io.ReadAll(r.Body)
	f.mutex.Lock()
	found := f.uploads[id]
	if err == nil && found != nil && found.path == r.URL.Path && r.Method == http.MethodPut {
		number, numberErr := strconv.Atoi(query.Get("partNumber"))
		if err = numberErr; err == nil {
			found.parts[number] = body
			w.Header().Set("ETag", fmt.Sprintf("%q", strconv.Itoa(number)))
		}
		f.mutex.Unlock()
		if err != nil {
			fail(w, http.StatusBadRequest, "InvalidPart", err.Error())
		}
		return
	}
	delete(f.uploads, id)
	f.mutex.Unlock()
	switch {
	case found == nil || found.path != r.URL.Path:
		fail(w, http.StatusNotFound, "NoSuchUpload", "The requested upload was not found.")
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		numbers := make([]int, 0, len(found.parts))
		for number := range found.parts {
			numbers = append(numbers, number)
		}
		slices.Sort(numbers)
		var whole []byte
		for _, number := range numbers {
			whole = append(whole, found.parts[number]...)
		}
		if f.put(w, bucket, object, "", whole) {
			reply(w, struct {
				XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
				ETag    string
			}{ETag: w.Header().Get("ETag")})
		}
	}
}

type listed struct {
	name   string
	object *fakestorage.ObjectAttrs
}

func (f *front) list(w http.ResponseWriter, bucket string, query url.Values) {
	type contents struct {
		Key          string
		Size         int64
		LastModified string
		ETag         string
	}
	type commonPrefix struct{ Prefix string }
	var result struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		NextContinuationToken string   `xml:",omitempty"`
		Contents              []contents
		CommonPrefixes        []commonPrefix
	}
	objects, prefixes, err := f.server.ListObjects(bucket, query.Get("prefix"), query.Get("delimiter"), false)
	if err != nil {
		fail(w, http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	var entries []listed
	for i := range objects {
		entries = append(entries, listed{objects[i].Name, &objects[i]})
	}
	for _, prefix := range prefixes {
		entries = append(entries, listed{prefix, nil})
	}
	slices.SortFunc(entries, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	for sent, entry := range entries[from(entries, query):] {
		if sent == pageSize {
			result.NextContinuationToken = entry.name
			break
		}
		if entry.object == nil {
			result.CommonPrefixes = append(result.CommonPrefixes, commonPrefix{entry.name})
			continue
		}
		modified := entry.object.Updated.UTC().Format(time.RFC3339)
		result.Contents = append(result.Contents, contents{entry.name, entry.object.Size, modified, entry.object.Etag})
	}
	reply(w, result)
}

// from is where a page begins.
func from(entries []listed, query url.Values) int {
	token, after := query.Get("continuation-token"), query.Get("start-after")
	at := slices.IndexFunc(entries, func(entry listed) bool { return entry.name >= token && entry.name > after })
	if at < 0 {
		return len(entries)
	}
	return at
}

func reply(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(document)
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.WriteHeader(status)
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: message})
}
