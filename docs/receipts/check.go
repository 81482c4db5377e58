// Verifies saved replies as docs/receipts.md describes, with Go 1.19 or newer. The proof and the signature are verified
// by the Go project's own packages for transparency logs, golang.org/x/mod/sumdb/note and tlog (Debian:
// golang-golang-x-mod-dev):
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build check.go
//	./check SAVED CERTIFICATES [RETIRED_KEYS]
//
// Never `go run`: it turns each of these exit codes but 0 into 1, which accuses.
//
// Exit 0: every line is VALID; 1: one is INVALID; 2: MALFORMED, or a file can't be used; 21: NOT CHECKED.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	varint, fixed64, byteString, fixed32 = 0, 1, 2, 5

	maxLine     = 65536
	endOfTime   = 253402300800 // seconds, the year 10000
	notAsSaved  = "the line is not as it was saved"
	noteDamaged = "the checkpoint is damaged"
)

var (
	exits     = map[string]int{"INVALID": 1, "MALFORMED": 2, "NOT CHECKED": 21}
	outcomes  = []string{"?", "YES", "NO", "DISCLOSED"}
	receiptOf = map[uint64]uint64{1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 1, 8: 2, 9: 2} // field => type
	timeOf    = map[uint64]uint64{1: 0, 2: 0}

	line      = regexp.MustCompile(`^\{"format": "estelam-receipt/1", "receipt": "([A-Za-z0-9+/]+=*)"\}$`)
	signed    = regexp.MustCompile(`^(([^\s+]+)\n(0|[1-9][0-9]*)\n(\S+)\n)\n((?:— [^\n]+\n)+)$`)
	signature = regexp.MustCompile(`^— [^\s+]+ (\S+)$`)
	ledger    = regexp.MustCompile(`^estelam/([^/.]+)/(.*)`)
	control   = regexp.MustCompile(`[\x00-\x09\x0b-\x1f]`)
	hexKey    = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// A problem is why a reply is not valid.
type problem struct{ verdict, text string }

func fail(verdict, text string, values ...any) { panic(problem{verdict, fmt.Sprintf(text, values...)}) }

func require(condition bool, verdict, text string, values ...any) {
	if !condition {
		fail(verdict, text, values...)
	}
}

// A field is one field of a protobuf message: a number or bytes, and whether it is encoded shortly.
type field struct {
	number, kind, value uint64
	bytes               []byte
	short               bool
}

// parse returns the fields of a message in their order.
func parse(message []byte) (fields []field) {
	short := true
	number := func() uint64 {
		value, size := binary.Uvarint(message)
		require(size > 0, "MALFORMED", "a message is damaged")
		short = short && (size == 1 || message[size-1] != 0)
		message = message[size:]
		return value
	}
	take := func(count uint64) []byte {
		require(count <= uint64(len(message)), "MALFORMED", "a message is damaged")
		part := message[:count]
		message = message[count:]
		return part
	}
	for len(message) > 0 {
		short = true
		tag := number()
		found := field{number: tag >> 3, kind: tag & 7}
		require(found.number >= 1 && found.number < 1<<29, "MALFORMED", "a message is damaged")
		switch found.kind {
		case varint:
			found.value = number()
		case fixed64:
			found.value = binary.LittleEndian.Uint64(take(8))
		case fixed32:
			found.value = uint64(binary.LittleEndian.Uint32(take(4)))
		case byteString:
			found.bytes = take(number())
		default:
			fail("MALFORMED", "a message is damaged")
		}
		found.short = short
		fields = append(fields, found)
	}
	return fields
}

func all(fields []field, number, kind uint64) (found []field) {
	for _, each := range fields {
		if each.number == number && each.kind == kind {
			found = append(found, each)
		}
	}
	return found
}

func last(fields []field, number, kind uint64) field {
	found := all(fields, number, kind)
	if len(found) == 0 {
		return field{number: number, kind: kind}
	}
	return found[len(found)-1]
}

func text(value []byte) string {
	require(utf8.Valid(value), "MALFORMED", "a text is damaged")
	return string(value)
}

// isCanonical tells whether a message is as protobuf writes it: fields in order, none twice or with its default, and
// unknown ones at the end.
func isCanonical(fields []field, kinds map[uint64]uint64, repeated, message uint64) bool {
	before, unknown := uint64(0), false
	for _, each := range fields {
		if !isKnown(each, kinds) {
			unknown = true
			continue
		}
		inOrder := each.number > before || each.number == repeated && each.number == before
		isDefault := each.value == 0 && len(each.bytes) == 0 && each.number != repeated && each.number != message
		if unknown || !inOrder || !each.short || isDefault {
			return false
		}
		before = each.number
	}
	return true
}

func isKnown(each field, kinds map[uint64]uint64) bool {
	kind, found := kinds[each.number]
	return found && kind == each.kind
}

func areKnown(fields []field, kinds map[uint64]uint64) bool {
	for _, each := range fields {
		if !isKnown(each, kinds) {
			return false
		}
	}
	return true
}

func decode(encoded, text string) []byte {
	found, err := base64.StdEncoding.DecodeString(encoded)
	require(err == nil && base64.StdEncoding.EncodeToString(found) == encoded, "MALFORMED", text)
	return found
}

// usable requires that a file was opened or read.
func usable(file string, err error) {
	about, found := os.Stat(file)
	require(!errors.Is(err, fs.ErrNotExist), "MALFORMED", "%s: no such file", file)
	require(found != nil || !about.IsDir(), "MALFORMED", "%s: is a directory", file)
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	require(err == nil, "MALFORMED", "%s: %v", file, err)
}

func read(file string) []byte {
	content, err := os.ReadFile(file)
	usable(file, err)
	return content
}

func sum(parts ...[]byte) []byte {
	found := sha256.Sum256(bytes.Join(parts, nil))
	return found[:]
}

func instant(seconds uint64) time.Time { return time.Unix(int64(seconds), 0).UTC() }

// A key is a public key with the validity and the organisations of its certificates, and its retirement if there is one.
type key struct {
	public        ed25519.PublicKey
	periods       [][2]time.Time
	organizations map[string]bool
	gone          *retirement
}

type retirement struct{ retiredAt, reason string }

const (
	space   = `[ \t\r\n]*`
	word    = space + `"[0-9A-Za-z_:-]*"` + space
	row     = space + `\{` + word + `:` + word + `(?:,` + word + `:` + word + `){2}\}` + space
	rows    = `\[(?:` + row + `(?:,` + row + `)*|` + space + `)\]`
	begin   = "-----BEGIN CERTIFICATE-----"
	endLine = `[ \t]*\r?`
)

var (
	// A list of retired keys has no other text, and no escapes.
	listForm = regexp.MustCompile(
		`^` + space + `\{` + space + `"retired"` + space + `:` + space + rows + space + `\}` + space + `$`)
	// A certificate stands on lines of its own; what is before, between and after is passed over.
	certificateForm = regexp.MustCompile(
		`(?m)^` + begin + endLine + `\n(?:[A-Za-z0-9+/=]+` + endLine + `\n)+-----END CERTIFICATE-----` + endLine + `$`)
)

// signingKeys returns the keys of all signing certificates in a file by their ids; authorities are left out.
func signingKeys(file string) map[string]*key {
	keys := map[string]*key{}
	content := read(file)
	_, notDer := x509.ParseCertificate(content)
	require(notDer != nil, "MALFORMED",
		"%s: is a certificate in DER form (convert it: openssl x509 -inform DER -in %s -out NEW)", file, file)
	blocks := certificateForm.FindAll(content, -1)
	require(len(blocks) == bytes.Count(content, []byte(begin)), "MALFORMED", "%s: holds a damaged certificate", file)
	for _, each := range blocks {
		block, _ := pem.Decode(bytes.TrimSpace(each))
		require(block != nil, "MALFORMED", "%s: holds a damaged certificate", file)
		certificate, err := x509.ParseCertificate(block.Bytes)
		require(err == nil, "MALFORMED", "%s: holds a damaged certificate", file)
		if certificate.IsCA {
			continue
		}
		public, isEd25519 := certificate.PublicKey.(ed25519.PublicKey)
		maySign := certificate.KeyUsage == 0 || certificate.KeyUsage&x509.KeyUsageDigitalSignature != 0
		require(isEd25519 && maySign, "MALFORMED", "%s: holds a certificate that does not sign receipts", file)
		id := hex.EncodeToString(sum(certificate.RawSubjectPublicKeyInfo))
		if keys[id] == nil {
			keys[id] = &key{public: public, organizations: map[string]bool{}}
		}
		if named := organizations(certificate); len(named) == 1 {
			keys[id].organizations[named[0]] = true
		}
		keys[id].periods = append(keys[id].periods, [2]time.Time{certificate.NotBefore, certificate.NotAfter})
	}
	require(len(keys) > 0, "MALFORMED", "%s: holds no signing certificate", file)
	return keys
}

// organizations returns the organizationIdentifiers (OID 2.5.4.97) in the subject.
func organizations(certificate *x509.Certificate) (found []string) {
	for _, each := range certificate.Subject.Names {
		if each.Type.String() == "2.5.4.97" {
			found = append(found, fmt.Sprint(each.Value))
		}
	}
	return found
}

func retire(keys map[string]*key, file string) {
	var list struct{ Retired []map[string]string }
	content := bytes.TrimPrefix(read(file), []byte("\ufeff"))
	right := listForm.Match(content) && json.Unmarshal(content, &list) == nil
	named := map[string]bool{}
	for _, row := range list.Retired {
		id, at, reason := row["key"], row["retired_at"], row["reason"]
		right = right && len(row) == 3 && hexKey.MatchString(id) && isInstant(at) &&
			(reason == "superseded" || reason == "compromised")
		named[id] = true
		if known := keys[id]; known != nil {
			known.gone = &retirement{at, reason}
		}
	}
	require(right, "MALFORMED",
		"%s: is no list of retired keys: each row has key, retired_at and reason, and nothing more", file)
	require(len(named) == len(list.Retired), "MALFORMED", "%s: a key is named twice", file)
}

func isInstant(text string) bool {
	at, err := time.Parse("2006-01-02T15:04:05Z", text)
	return err == nil && at.Format("2006-01-02T15:04:05Z") == text && at.Year() >= 1900 && at.Year() < 2200
}

// A checkpoint holds what is signed, the ledger's name, size and root, and the signature lines, none of them verified.
type checkpoint struct {
	body, origin string
	size         int64
	root         tlog.Hash
	lines        []string
}

func parseCheckpoint(content string) (found checkpoint) {
	parts := signed.FindStringSubmatch(content)
	require(parts != nil && !control.MatchString(content), "MALFORMED", noteDamaged)
	size, err := strconv.ParseInt(parts[3], 10, 64)
	root := decode(parts[4], noteDamaged)
	require(err == nil && len(root) == len(found.root), "MALFORMED", noteDamaged)
	found = checkpoint{parts[1], parts[2], size, tlog.Hash(*(*[32]byte)(root)), nil}
	for _, each := range strings.Split(strings.TrimSuffix(parts[5], "\n"), "\n") {
		signed := signature.FindStringSubmatch(each)
		require(signed != nil, "MALFORMED", noteDamaged)
		require(len(decode(signed[1], noteDamaged)) > 4, "MALFORMED", noteDamaged)
		found.lines = append(found.lines, each)
	}
	return found
}

// contains verifies the inclusion proof (RFC 9162).
func (c checkpoint) contains(leaf []byte, index uint64, path []field) bool {
	var proof tlog.RecordProof
	for _, each := range path {
		if len(each.bytes) != len(c.root) {
			return false
		}
		proof = append(proof, tlog.Hash(*(*[32]byte)(each.bytes)))
	}
	return index < uint64(c.size) && tlog.CheckRecord(proof, c.size, c.root, int64(index), tlog.RecordHash(leaf)) == nil
}

// signer returns the key that signed the checkpoint. Lines of other keys, such as witnesses, are passed over.
func (c checkpoint) signer(keys map[string]*key) (found *key) {
	for _, each := range keys {
		material := append([]byte{1}, each.public...)
		hash := sum([]byte(c.origin+"\n"), material)[:4]
		name := fmt.Sprintf("%s+%x+%s", c.origin, hash, base64.StdEncoding.EncodeToString(material))
		verifier, err := note.NewVerifier(name)
		require(err == nil, "MALFORMED", noteDamaged)
		for _, line := range c.lines { // one by one: note.Open passes over a second signature of the same key
			_, err := note.Open([]byte(c.body+"\n"+line+"\n"), note.VerifierList(verifier))
			var unknown *note.UnverifiedNoteError
			if errors.As(err, &unknown) {
				continue
			}
			require(err == nil, "INVALID", "4: the signature does not match")
			found = each
		}
	}
	require(found != nil, "NOT CHECKED", "4: it is signed with a key of none of the given certificates")
	return found
}

func (k *key) check(at time.Time) {
	stated := at.Format(time.RFC3339)
	if k.gone != nil {
		then := k.gone.retiredAt
		require(stated < then, "INVALID", "4: the signing key was retired at %s, not after %s", then, stated)
		require(k.gone.reason == "superseded", "NOT CHECKED",
			"4: the signing key was compromised at %s: alone this proves nothing", then)
	}
	for _, period := range k.periods {
		if !at.Before(period[0]) && !at.After(period[1]) {
			return
		}
	}
	fail("NOT CHECKED", "4: no given certificate of the signing key was valid at %s", stated)
}

func check(content string, keys map[string]*key) string {
	require(len(content) < maxLine, "MALFORMED", "the line is too long")
	found := line.FindStringSubmatch(content)
	require(found != nil, "MALFORMED", notAsSaved)
	receipt := parse(decode(found[1], notAsSaved))
	part := func(number uint64) []byte { return last(receipt, number, byteString).bytes }
	stamp, entry, asked, answered := parse(part(2)), parse(part(5)), parse(part(3)), parse(part(4))
	require(isCanonical(receipt, receiptOf, 8, 2) && isCanonical(stamp, timeOf, 0, 0), "MALFORMED", notAsSaved)
	micros, outcome := last(entry, 2, fixed64).value, last(entry, 6, varint).value
	caller, method := text(last(entry, 3, byteString).bytes), text(last(entry, 4, byteString).bytes)
	id, signedNote := text(part(1)), text(part(9))
	seconds := micros / 1000000
	require(len(part(6)) == 16 && seconds < endOfTime, "MALFORMED", "the receipt is damaged")

	require(outcome >= 1 && outcome <= 3, "INVALID", "1: the entry is not an answer")                // 1
	require(bytes.Equal(sum(part(6), sum(part(3)), sum(part(4))), last(entry, 9, byteString).bytes), // 2
		"INVALID", "2: the entry is of another request or reply")
	head := parseCheckpoint(signedNote) // 3
	require(head.size <= 1<<62, "NOT CHECKED", "3: tlog does not end on a ledger of more than 2^62 entries")
	require(head.contains(part(5), last(receipt, 7, fixed64).value, all(receipt, 8, byteString)),
		"INVALID", "3: the entry is not in the ledger of the checkpoint")
	signer := head.signer(keys) // 4
	signer.check(instant(seconds))
	uuid := last(entry, 1, byteString).bytes // 5
	require(len(uuid) == 16, "MALFORMED", "the receipt is damaged")
	stated := fmt.Sprintf("%x-%x-%x-%x-%x", uuid[:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:])
	require(areKnown(receipt, receiptOf) && areKnown(stamp, timeOf) && id == stated &&
		last(stamp, 1, varint).value == seconds && last(stamp, 2, varint).value == micros%1000000*1000,
		"INVALID", "5: the plain fields differ from the entry")
	service := ledger.FindStringSubmatch(head.origin)
	require(service != nil && strings.HasPrefix(method, "estelam."+service[1]+"."),
		"INVALID", "5: the ledger is not of the service whose method the entry names")
	require(len(signer.organizations) > 0, "NOT CHECKED", "5: no given certificate names one organisation")
	require(signer.organizations[service[2]],
		"INVALID", "5: the ledger is not of the organisation that the signing certificate names")
	if outcome == 3 {
		require(len(all(answered, 1, byteString)) > 0, "INVALID", "5: the answer differs from the entry")
	} else {
		require(last(answered, 1, varint).value == outcome, "INVALID", "5: the answer differs from the entry")
	}

	at := instant(seconds).Format(time.RFC3339)
	valid := fmt.Sprintf("VALID %s at %s: %s about %s asked by %s: %s",
		stated, at, method, identifiers(asked), caller, outcomes[outcome])
	if strings.HasPrefix(method, "estelam.judiciary.") {
		valid += coverage(answered)
	}
	return valid
}

func identifiers(asked []field) string {
	sort.SliceStable(asked, func(i, j int) bool { return asked[i].number < asked[j].number })
	var texts []string
	for _, each := range asked {
		if each.kind == byteString {
			texts = append(texts, text(each.bytes))
		} else {
			texts = append(texts, fmt.Sprint(each.value))
		}
	}
	return strings.Join(texts, " ")
}

func coverage(answered []field) (stated string) {
	found := parse(last(answered, 2, byteString).bytes)
	since, asOf := parse(last(found, 1, byteString).bytes), parse(last(found, 2, byteString).bytes)
	if len(since) > 0 {
		stated += fmt.Sprintf(", complete since %04d-%02d-%02d",
			last(since, 1, varint).value, last(since, 2, varint).value, last(since, 3, varint).value)
	}
	if len(asOf) > 0 {
		stated += ", true as of " + instant(last(asOf, 1, varint).value).Format(time.RFC3339)
	}
	return stated
}

// shown returns a text as it is printed: control and format characters, which could mislead, as escapes, but not the
// joiners of Persian.
func shown(text string) string {
	var found strings.Builder
	for _, each := range text {
		switch {
		case each == '\u200c' || each == '\u200d' || !unicode.In(each, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			found.WriteRune(each)
		case each == '\t' || each == '\n' || each == '\r':
			found.WriteString(strings.Trim(strconv.QuoteRune(each), "'"))
		case each < 0x100:
			fmt.Fprintf(&found, "\\x%02x", each)
		case each < 0x10000:
			fmt.Fprintf(&found, "\\u%04x", each)
		default:
			fmt.Fprintf(&found, "\\U%08x", each)
		}
	}
	return found.String()
}

func main() {
	number := 0
	defer func() {
		if found := recover(); found != nil {
			why, known := found.(problem)
			if !known {
				why = problem{"NOT CHECKED", fmt.Sprint(found)}
			}
			where := ""
			if number > 0 {
				where = fmt.Sprintf("reply %d: ", number)
			}
			fmt.Fprintf(os.Stderr, "%s: %s%s\n", why.verdict, where, shown(why.text))
			os.Exit(exits[why.verdict])
		}
	}()
	require(len(os.Args) == 3 || len(os.Args) == 4, "MALFORMED", "give the saved replies, one file of certificates and, if any, the retired keys")
	keys := signingKeys(os.Args[2])
	if len(os.Args) > 3 {
		retire(keys, os.Args[3])
	}
	file, err := os.Open(os.Args[1])
	usable(os.Args[1], err)
	defer file.Close()
	for reader, done := bufio.NewReader(file), false; !done; {
		content, err := reader.ReadString('\n')
		require(err == nil || errors.Is(err, io.EOF), "MALFORMED", "%v", err)
		done = err != nil
		if content = strings.Trim(content, " \t\r\n"); content != "" {
			number++
			fmt.Println(shown(check(content, keys)))
		}
	}
	require(number > 0, "MALFORMED", "the file is empty")
}
