// Asks CheckNote about notes: mTLS, deadline, retries, error details, and no answer without a valid receipt.
//
//	client TARGET PKI OBLIGOR BENEFICIARY AMOUNT SERIAL...    prints the answer about each serial
//	client testdata DIR                                       checks this program with the test vectors
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	inquiry "estelam/inquiry/v1"
	judiciary "estelam/judiciary/v1"
	notes "estelam/promissory/v1"

	protov1 "github.com/golang/protobuf/proto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	method   = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"
	deadline = 5 * time.Second
	maxCalls = 3
	clock    = time.Minute
)

// problem is what the error details say; retry is negative where they name no time.
type problem struct {
	reason, layer string
	retry         time.Duration
	fields        []string
}

func describe(found *status.Status) problem {
	what := problem{layer: "-", retry: -1}
	for _, detail := range found.Details() {
		switch each := detail.(type) {
		case *errdetails.ErrorInfo:
			what.reason, what.layer = each.GetReason(), each.GetMetadata()["layer"]
		case *errdetails.RetryInfo:
			delay := each.GetRetryDelay()
			what.retry = time.Duration(delay.GetSeconds())*time.Second + time.Duration(delay.GetNanos())
		case *errdetails.BadRequest:
			for _, violation := range each.GetFieldViolations() {
				what.fields = append(what.fields, violation.GetField())
			}
		}
	}
	return what
}

// wait returns how long to wait before the next call; negative: don't call again.
func wait(code codes.Code, trailer metadata.MD, what problem, calls int) time.Duration {
	if pushback := trailer.Get("grpc-retry-pushback-ms"); len(pushback) > 0 {
		milliseconds, err := strconv.Atoi(pushback[0])
		if err != nil {
			return -1
		}
		return time.Duration(milliseconds) * time.Millisecond
	}
	if code != codes.Unavailable && code != codes.Canceled {
		return -1
	}
	if what.retry >= 0 {
		return what.retry
	}
	return 100 * time.Millisecond << calls
}

// ask returns YES or NO, or why there is no answer.
func ask(client notes.PromissoryNoteInquiryServiceClient, note *notes.CheckNoteRequest, provider *x509.Certificate, caller string) string {
	end := time.Now().Add(2 * deadline)
	for calls := 1; ; calls++ {
		random := make([]byte, 16)
		if _, err := rand.Read(random); err != nil {
			log.Fatal(err)
		}
		nonce := base64.RawURLEncoding.EncodeToString(random)
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "x-nonce", nonce), deadline)
		var trailer metadata.MD
		reply, err := client.CheckNote(ctx, note, grpc.Trailer(&trailer))
		cancel()
		if err != nil {
			found := status.Convert(err)
			what := describe(found)
			pause := wait(found.Code(), trailer, what, calls)
			if pause < 0 || calls == maxCalls || time.Now().Add(pause).After(end) {
				if what.reason == "" {
					what.reason = found.Code().String()
				}
				text := fmt.Sprintf("NO ANSWER %s %s after %d calls %s", what.reason, what.layer, calls, strings.Join(what.fields, ","))
				return strings.TrimSpace(text)
			}
			time.Sleep(pause)
			continue
		}
		answer := reply.GetAnswer()
		if answer != inquiry.Answer_ANSWER_YES && answer != inquiry.Answer_ANSWER_NO {
			return "NO ANSWER UNSPECIFIED" // never a NO
		}
		bare := proto.Clone(reply).(*notes.CheckNoteResponse)
		bare.Receipt = nil
		entry := proven(provider, method, note, bare, answer, reply.GetReceipt())
		// The receipt must be of this very call, and not a genuine one of another.
		age := time.Since(time.Unix(0, int64(entry.GetAnsweredAtMicros())*1000))
		if entry == nil || age > clock || age < -clock || entry.GetCaller() != caller || !bytes.Equal(entry.GetNonce(), sum([]byte(nonce))) {
			return "NO ANSWER BAD_RECEIPT"
		}
		return strings.TrimPrefix(answer.String(), "ANSWER_")
	}
}

func checkTestdata(folder string) {
	var receipts struct {
		Certificate string
		Receipts    []struct {
			Name, Method   string
			Request, Reply []byte
		}
	}
	readJSON(filepath.Join(folder, "receipts.json"), &receipts)
	cert := certificate([]byte(receipts.Certificate))
	for _, each := range receipts.Receipts {
		verdict := "invalid"
		if provenVector(cert, each.Method, each.Request, each.Reply) {
			verdict = "valid"
		}
		fmt.Printf("receipt %s: %s\n", each.Name, verdict)
	}
	var list struct {
		Errors []struct {
			StatusDetails []byte `json:"status_details"`
		}
	}
	readJSON(filepath.Join(folder, "errors.json"), &list)
	for _, each := range list.Errors {
		found := &rpcstatus.Status{}
		check(protov1.Unmarshal(each.StatusDetails, found)) // Debian's package of google.rpc has the older interface
		what, retry, fields := describe(status.FromProto(found)), "-", "-"
		if what.retry >= 0 {
			retry = strconv.FormatInt(what.retry.Milliseconds(), 10)
		}
		if len(what.fields) > 0 {
			fields = strings.Join(what.fields, ",")
		}
		fmt.Printf("error %s: %s %s %s\n", what.reason, what.layer, retry, fields)
	}
}

// answered is a reply of any method: with an answer or, of GetNoteParties, without.
type answered interface {
	proto.Message
	GetReceipt() *inquiry.Receipt
}

func provenVector(cert *x509.Certificate, name string, request, reply []byte) bool {
	var asked proto.Message = &notes.CheckNoteRequest{}
	var found answered = &notes.CheckNoteResponse{}
	if strings.HasSuffix(name, "/GetNoteParties") {
		asked, found = &notes.GetNotePartiesRequest{}, &notes.GetNotePartiesResponse{}
	} else if strings.HasSuffix(name, "/CheckByTrackingId") {
		asked, found = &judiciary.CheckByTrackingIdRequest{}, &judiciary.CheckByTrackingIdResponse{}
	}
	check(proto.Unmarshal(request, asked))
	check(proto.Unmarshal(reply, found))
	answer := inquiry.Answer_ANSWER_UNSPECIFIED
	if with, ok := found.(interface{ GetAnswer() inquiry.Answer }); ok {
		answer = with.GetAnswer()
	}
	bare := proto.Clone(found)
	bare.ProtoReflect().Clear(bare.ProtoReflect().Descriptor().Fields().ByName("receipt"))
	return proven(cert, name, asked, bare, answer, found.GetReceipt()) != nil
}

func readJSON(path string, into interface{}) {
	content, err := os.ReadFile(path)
	check(err)
	check(json.Unmarshal(content, into))
}

func certificate(content []byte) *x509.Certificate {
	block, _ := pem.Decode(content)
	if block == nil {
		log.Fatal("no certificate")
	}
	found, err := x509.ParseCertificate(block.Bytes)
	check(err)
	return found
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	if os.Args[1] == "testdata" {
		checkTestdata(os.Args[2])
		return
	}
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(os.Args[2], name))
		check(err)
		return content
	}
	pair, err := tls.X509KeyPair(read("setad.crt"), read("setad.key"))
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read("ca.crt"))
	config := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}
	connection, err := grpc.Dial(os.Args[1], grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithDisableRetry())
	check(err)
	defer connection.Close()
	client := notes.NewPromissoryNoteInquiryServiceClient(connection)
	amount, err := strconv.ParseInt(os.Args[5], 10, 64)
	check(err)
	provider, caller := certificate(read("promissory-receipts.crt")), organizationOf(certificate(read("setad.crt")))
	for _, serial := range os.Args[6:] {
		note := &notes.CheckNoteRequest{Serial: serial, ObligorId: os.Args[3], BeneficiaryId: os.Args[4], AmountRials: amount}
		fmt.Println(serial, ask(client, note, provider, caller))
	}
}
