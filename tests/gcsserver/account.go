package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"strings"
	"time"
)

// account is the one service account that may use the server.
type account struct {
	key        *rsa.PrivateKey
	adminToken string
}

func newAccount(adminToken string) (*account, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return &account{key: key, adminToken: adminToken}, err
}

// write leaves the account's key file, in Google's format.
func (a *account) write(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	file, err := json.Marshal(map[string]string{
		"type":           "service_account",
		"project_id":     "holdfast",
		"private_key_id": "one",
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   "holdfast@holdfast.iam.gserviceaccount.com",
		"client_id":      "1",
		"token_uri":      "https://oauth2.example.com/token",
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, file, 0o600)
}

func (a *account) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		signed := r.Method == http.MethodGet && r.URL.Query().Has("X-Goog-Signature")
		if signed || a.knows(token) {
			next.ServeHTTP(w, r)
			return
		}
		fail(w, http.StatusUnauthorized, "AuthenticationRequired", "Authentication required.")
	})
}

func (a *account) knows(token string) bool {
	if a.adminToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(a.adminToken)) == 1 {
		return true
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&a.key.PublicKey, crypto.SHA256, digest[:], signature) != nil {
		return false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var lifetime struct {
		Expires int64 `json:"exp"`
	}
	return json.Unmarshal(claims, &lifetime) == nil && time.Now().Unix() < lifetime.Expires
}
