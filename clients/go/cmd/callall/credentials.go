package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// shown is how the program shows who calls: the same options as those of the usage-ledger command.
type shown struct {
	tokenFile, tlsCA, cert, key string
	insecure                    bool
}

func (s *shown) register(flags *flag.FlagSet) {
	flags.StringVar(&s.tokenFile, "token-file", "", "the file with the token that the service knows us by")
	flags.StringVar(&s.tlsCA, "tls-ca", "", "speak TLS; these certificates, or those the `system` trusts, sign the service's")
	flags.StringVar(&s.cert, "cert", "", "our certificate, for a service that asks for one")
	flags.StringVar(&s.key, "key", "", "its private key")
	flags.BoolVar(&s.insecure, "insecure", false, "send the token without TLS")
}

// dialOptions are what grpc.NewClient needs to know of it.
func (s *shown) dialOptions() ([]grpc.DialOption, error) {
	wantsTLS := s.tlsCA != "" || s.cert != ""
	transport := insecure.NewCredentials()
	if wantsTLS {
		config, err := s.tlsConfig()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if s.tokenFile != "" {
		token, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return nil, err
		}
		if !wantsTLS && !s.insecure {
			return nil, errors.New("the token would be sent in the clear: give --tls-ca, or --insecure")
		}
		sent := bearer{token: strings.TrimSpace(string(token)), needsTLS: wantsTLS}
		options = append(options, grpc.WithPerRPCCredentials(sent))
	}
	return options, nil
}

func (s *shown) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.tlsCA != "" && s.tlsCA != "system" {
		authorities, err := os.ReadFile(s.tlsCA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", s.tlsCA)
		}
	}
	if s.cert != "" {
		ours, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{ours}
	}
	return config, nil
}

// bearer sends a token with every call.
type bearer struct {
	token    string
	needsTLS bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.needsTLS }
