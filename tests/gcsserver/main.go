// Command gcsserver is fake-gcs-server with the part of Cloud Storage's XML API in front of it that it lacks: plain
// and conditional puts, paged lists, and uploads in parts. Unlike it, this server asks who is there: requests carry a
// token that the service account's key signed, the administrator's token, or a signed URL (whose signature is not
// looked at).
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: ADMIN_TOKEN=… gcsserver ADDRESS FOLDER KEY-FILE")
	}
	address, folder, keyFile := os.Args[1], os.Args[2], os.Args[3]
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	account, err := newAccount(os.Getenv("ADMIN_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	if err := account.write(keyFile); err != nil {
		log.Fatal(err)
	}
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		StorageRoot: folder,
		NoListener:  true,
		PublicHost:  address,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("serving")
	front := &front{server: server, inner: server.HTTPHandler(), uploads: map[string]*upload{}}
	log.Fatal(http.Serve(listener, account.guard(front)))
}
