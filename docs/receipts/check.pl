# Verifies saved replies as docs/receipts.md describes, with Perl, OpenSSL 3 and nothing else:
#
#     perl check.pl SAVED CERTIFICATES [RETIRED_KEYS]
#
# Exit 0: every line is VALID; 1: one is INVALID; 2: MALFORMED, or a file can't be used; 21: NOT CHECKED.
use strict; use warnings;
use Digest::SHA qw(sha256 sha256_hex); use Encode; use Errno; use File::Temp; use JSON::PP; use MIME::Base64; use POSIX;
use Time::Local;

my %EXITS = (INVALID => 1, MALFORMED => 2, "NOT CHECKED" => 21);
my ($VARINT, $FIXED64, $BYTES, $FIXED32) = (0, 1, 2, 5);
my %RECEIPT = (1 => 2, 2 => 2, 3 => 2, 4 => 2, 5 => 2, 6 => 2, 7 => 1, 8 => 2, 9 => 2);   # field => type
my %TIMESTAMP = (1 => 0, 2 => 0);
my $MAX_LINE = 65536;
# A certificate stands on lines of its own; what is before, between and after is passed over.
my $END = qr/[ \t]*\r?/;
my $PEM = qr{^-----BEGIN CERTIFICATE-----$END\n(?:[A-Za-z0-9+/=]+$END\n)+-----END CERTIFICATE-----$END$}m;
# A list of retired keys has no other text, and no escapes.
my $SPACE = qr/[ \t\r\n]*/; my $TEXT = qr/$SPACE"[0-9A-Za-z_:-]*"$SPACE/;
my $ROW = qr/$SPACE\{$TEXT:$TEXT(?:,$TEXT:$TEXT){2}\}$SPACE/;
my $LIST = qr/$SPACE\{$SPACE"retired"$SPACE:$SPACE\[(?:$ROW(?:,$ROW)*|$SPACE)\]$SPACE\}$SPACE/;
my $END_OF_TIME = 253402300800;   # seconds, the year 10000

sub fail { my ($verdict, $text) = @_; die { verdict => $verdict, text => $text } }
sub damaged { fail("MALFORMED", "a message is damaged") }
sub opened { my $file = shift; -e $file or $!{EACCES} or fail("MALFORMED", "$file: no such file");
  -d $file and fail("MALFORMED", "$file: is a directory");
  open my $in, "<:raw", $file or fail("MALFORMED", "$file: " . lcfirst $!); $in }
sub text { my $in = opened(shift); local $/; <$in> // "" }
# A text as it is printed: control and format characters, which could mislead, as escapes, but not the joiners of Persian.
sub shown {
  my $text = decode("UTF-8", shift, Encode::FB_PERLQQ);
  my %short = ("\t" => '\t', "\n" => '\n', "\r" => '\r');
  $text =~ s/((?![\x{200c}\x{200d}])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}])/
    $short{$1} \/\/ sprintf(ord $1 < 256 ? "\\x%02x" : ord $1 < 65536 ? "\\u%04x" : "\\U%08x", ord $1)/ge;
  encode("UTF-8", $text)
}
sub temporary { my $file = File::Temp->new; binmode $file; print $file @_; close $file; $file }
sub instant { strftime "%Y-%m-%dT%H:%M:%SZ", gmtime shift }
sub base64 { my ($text, $problem) = @_; my $bytes = decode_base64 $text;
  encode_base64($bytes, "") eq $text or fail("MALFORMED", $problem); $bytes }
sub utf8 { my $bytes = shift; eval { decode("UTF-8", $bytes, Encode::FB_CROAK | Encode::LEAVE_SRC); 1 }
  or fail("MALFORMED", "a text is damaged"); $bytes }

# Protobuf: the fields of a message in their order, each with its number, type, value and whether it is encoded shortly.
sub parse {
  my ($bytes, $at, @fields) = (shift, 0);
  while ($at < length $bytes) {
    my $short = 1;
    my $varint = sub {
      substr($bytes, $at) =~ /^([\x80-\xff]{0,9}[\0-\x7f])/s or damaged(); $at += length $1;
      $short = 0 if length $1 > 1 && substr($1, -1) eq "\0";
      my ($value, $shift) = (0, 0);
      for (unpack "C*", $1) { $value |= ($_ & 127) << $shift if $shift < 64; $shift += 7 } $value };
    my $take = sub { my $count = shift; $count <= length($bytes) - $at or damaged();
      $at += $count; substr $bytes, $at - $count, $count };
    my $tag = $varint->(); my ($number, $type) = ($tag >> 3, $tag & 7);
    $number >= 1 && $number < 2 ** 29 or damaged();
    my $value = $type == $VARINT ? $varint->() : $type == $FIXED64 ? unpack "Q<", $take->(8) :
      $type == $BYTES ? $take->($varint->()) : $type == $FIXED32 ? unpack "V", $take->(4) : damaged();
    push @fields, { number => $number, type => $type, value => $value, short => $short };
  }
  \@fields
}

sub all { my ($fields, $number, $type) = @_;
  map { $_->{value} } grep { $_->{number} == $number && $_->{type} == $type } @$fields }
sub last_of { my ($fields, $number, $type) = @_; (all($fields, $number, $type))[-1] // ($type == $BYTES ? "" : 0) }

# Whether a message is as protobuf writes it: fields in order, none twice or with its default, unknown ones at the end.
sub is_canonical {
  my ($fields, $types) = @_; my ($before, $unknown, $receipt) = (0, 0, $types == \%RECEIPT);
  for (@$fields) {
    my ($number, $type) = @$_{qw(number type)};
    if (($types->{$number} // -1) != $type) { $unknown = 1; next }
    my ($repeated, $message) = ($receipt && $number == 8, $receipt && $number == 2);
    my $default = $_->{value} eq ($type == $BYTES ? "" : "0");
    return 0 if $unknown || !$_->{short} || $number < $before || $number == $before && !$repeated;
    return 0 if $default && !$repeated && !$message;
    $before = $number;
  }
  1
}
sub is_known { my ($fields, $types) = @_; !grep { ($types->{$_->{number}} // -1) != $_->{type} } @$fields }

# The public keys of all signing certificates in a file, 32 bytes each; authorities are left out.
sub signing_keys {
  my ($file, %keys) = @_;
  my $text = text($file); my @blocks = $text =~ /($PEM)/g;
  if ($text =~ /^\x30/) {
    my $x = temporary($text); system("openssl x509 -inform DER -in $x -noout >/dev/null 2>&1")
      or fail("MALFORMED", "$file: is a certificate in DER form (convert it: openssl x509 -inform DER -in $file -out NEW)");
  }
  @blocks == (() = $text =~ /-----BEGIN CERTIFICATE-----/g) or fail("MALFORMED", "$file: holds a damaged certificate");
  for (@blocks) {
    my $x = temporary("$_\n");
    my $o = `openssl x509 -in $x -noout -pubkey -dates -dateopt iso_8601 -ext keyUsage,basicConstraints 2>&1`;
    my $subject = `openssl x509 -in $x -noout -subject -nameopt RFC2253,-sep_comma_plus,sep_multiline,oid 2>&1`;
    my ($pem, $der) = $o =~ /(-----BEGIN PUBLIC KEY-----\n(.*?)-----END PUBLIC KEY-----\n)/s
      or fail("MALFORMED", "$file: holds a damaged certificate");
    next if $o =~ /CA:TRUE/;
    $der = decode_base64 $der;   # of an Ed25519 key: the same 12 bytes, and 32 of the key
    $der =~ /^\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00/ && !($o =~ /Key Usage/ && $o !~ /Digital Signature/)
      or fail("MALFORMED", "$file: holds a certificate that does not sign receipts");
    my $known = $keys{substr $der, -32} //=
      { pem => temporary($pem), id => sha256_hex($der), periods => [], organizations => {} };
    my @organizations = $subject =~ /^\s*2\.5\.4\.97=(.*)$/mg;
    $known->{organizations}{$organizations[0]} = 1 if @organizations == 1;
    push @{$known->{periods}}, [map { tr/ /T/r } $o =~ /^not(?:Before|After)=(\S+ \S+)$/mg];
  }
  %keys or fail("MALFORMED", "$file: holds no signing certificate");
  \%keys
}

sub is_retirement {
  my $row = shift; join(" ", sort keys %$row) eq "key reason retired_at" or return 0;
  my ($year, $month, $day, $time) =
    $row->{retired_at} =~ /^((?:19|20|21)\d\d)-(\d\d)-(\d\d)T(\d\d:\d\d:\d\d)Z$/ or return 0;
  my @time = reverse split /:/, $time;
  eval { instant(timegm @time, $day, $month - 1, $year) eq $row->{retired_at} }
    && $row->{key} =~ /^[0-9a-f]{64}$/ && $row->{reason} =~ /^(superseded|compromised)$/
}

sub retire {
  my ($keys, $file) = @_; my $json = text($file); $json =~ s/^\xef\xbb\xbf//;
  my $rows = eval { $json =~ /^$LIST\z/ or die; my $found = decode_json($json)->{retired};
    (grep { !is_retirement($_) } @$found) ? undef : $found }
    or fail("MALFORMED", "$file: is no list of retired keys: each row has key, retired_at and reason, and nothing more");
  my %ids = map { $_->{key} => 1 } @$rows; keys %ids == @$rows or fail("MALFORMED", "$file: a key is named twice");
  for my $known (values %$keys) { ($known->{retirement}) = grep { $_->{key} eq $known->{id} } @$rows }
}

# The checkpoint: what is signed, the ledger's name, size and root, and the signature lines. No signature is verified.
sub parse_checkpoint {
  my ($note, $problem) = (shift, "the checkpoint is damaged");
  my ($body, $origin, $size, $root, $rest) =
    $note =~ /^(([^\s+]+)\n(0|[1-9]\d*)\n(\S+)\n)\n((?:\xe2\x80\x94 [^\n]+\n)+)\z/ or fail("MALFORMED", $problem);
  $note !~ /[\0-\x09\x0b-\x1f]/ or fail("MALFORMED", $problem);
  $root = base64($root, $problem);
  my @lines = map { /^\xe2\x80\x94 ([^\s+]+) (\S+)$/ or fail("MALFORMED", $problem);
    my ($hash, $signature) = unpack "a4 a*", base64($2, $problem); length $signature or fail("MALFORMED", $problem);
    { name => $1, hash => $hash, signature => $signature } } split /\n/, $rest;
  sprintf("%020s", $size) le "09223372036854775807" && length $size <= 20 && length $root == 32
    or fail("MALFORMED", $problem);
  { body => $body, origin => $origin, size => $size, root => $root, lines => \@lines }
}

# RFC 9162: the root above a leaf, or nothing where the path has too few or too many nodes.
sub root_above {
  my ($leaf, $index, $size, @path) = @_; $index < $size or return "";
  my $node = sha256("\0" . $leaf);
  for (my $last = $size - 1; $last > 0; $index >>= 1, $last >>= 1) {
    next unless $index % 2 || $index < $last;
    my $sibling = shift @path // return "";
    $node = sha256("\1" . ($index % 2 ? $sibling . $node : $node . $sibling));
  }
  @path ? "" : $node
}

# The key that signed the checkpoint. Lines of other keys, such as witnesses, are passed over.
sub signer {
  my ($checkpoint, $keys) = @_; my ($body, $origin) = @$checkpoint{qw(body origin)}; my $found;
  for my $key (keys %$keys) {
    my $hash = substr sha256("$origin\n\1$key"), 0, 4;
    for (grep { $_->{name} eq $origin && $_->{hash} eq $hash } @{$checkpoint->{lines}}) {
      my ($message, $signature) = (temporary($body), temporary($_->{signature}));
      system("openssl pkeyutl -verify -pubin -inkey $keys->{$key}{pem} -rawin -in $message -sigfile $signature " .
        ">/dev/null 2>&1") and fail("INVALID", "4: the signature does not match");
      $found = $keys->{$key};
    }
  }
  $found // fail("NOT CHECKED", "4: it is signed with a key of none of the given certificates")
}

sub check_time {
  my ($key, $at) = @_; my $retirement = $key->{retirement};
  if ($retirement) {
    my ($then, $reason) = @$retirement{qw(retired_at reason)};
    $at lt $then or fail("INVALID", "4: the signing key was retired at $then, not after $at");
    $reason eq "superseded"
      or fail("NOT CHECKED", "4: the signing key was compromised at $then: alone this proves nothing");
  }
  grep { $_->[0] le $at && $at le $_->[1] } @{$key->{periods}}
    or fail("NOT CHECKED", "4: no given certificate of the signing key was valid at $at");
}

sub check {
  my ($line, $keys) = @_; my $problem = "the line is not as it was saved";
  length $line < $MAX_LINE or fail("MALFORMED", "the line is too long");
  $line =~ m!^\{"format": "estelam-receipt/1", "receipt": "([A-Za-z0-9+/]+=*)"\}\z! or fail("MALFORMED", $problem);
  my $receipt = parse(base64($1, $problem));
  my ($id, $stamp, $request, $reply, $leaf, $salt, $note) = map { last_of($receipt, $_, $BYTES) } 1 .. 6, 9;
  my ($time, $entry, $asked, $answered) = map { parse($_) } $stamp, $leaf, $request, $reply;
  is_canonical($receipt, \%RECEIPT) && is_canonical($time, \%TIMESTAMP) or fail("MALFORMED", $problem);
  my ($micros, $outcome) = (last_of($entry, 2, $FIXED64), last_of($entry, 6, $VARINT));
  my ($caller, $method) = map { utf8(last_of($entry, $_, $BYTES)) } 3, 4;
  utf8($_) for $id, $note;
  my $seconds = int($micros / 1e6);
  length $salt == 16 && $seconds < $END_OF_TIME or fail("MALFORMED", "the receipt is damaged");

  $outcome >= 1 && $outcome <= 3 or fail("INVALID", "1: the entry is not an answer");   # 1
  sha256($salt . sha256($request) . sha256($reply)) eq last_of($entry, 9, $BYTES)   # 2
    or fail("INVALID", "2: the entry is of another request or reply");
  my $checkpoint = parse_checkpoint($note);   # 3
  my $root = root_above($leaf, last_of($receipt, 7, $FIXED64), $checkpoint->{size}, all($receipt, 8, $BYTES));
  $root eq $checkpoint->{root} or fail("INVALID", "3: the entry is not in the ledger of the checkpoint");
  my $signer = signer($checkpoint, $keys);   # 4
  check_time($signer, instant($seconds));
  my $uuid = last_of($entry, 1, $BYTES);   # 5
  length $uuid == 16 or fail("MALFORMED", "the receipt is damaged");
  $uuid = join "-", unpack "H8H4H4H4H12", $uuid;
  is_known($receipt, \%RECEIPT) && is_known($time, \%TIMESTAMP) && $id eq $uuid
    && last_of($time, 1, $VARINT) == $seconds && last_of($time, 2, $VARINT) == $micros % 1000000 * 1000
    or fail("INVALID", "5: the plain fields differ from the entry");
  my ($service, $organization) = $checkpoint->{origin} =~ m!^estelam/([^/.]+)/(.*)!;
  defined $service && index($method, "estelam.$service.") == 0
    or fail("INVALID", "5: the ledger is not of the service whose method the entry names");
  %{$signer->{organizations}} or fail("NOT CHECKED", "5: no given certificate names one organisation");
  $signer->{organizations}{$organization}
    or fail("INVALID", "5: the ledger is not of the organisation that the signing certificate names");
  ($outcome == 3 ? all($answered, 1, $BYTES) : last_of($answered, 1, $VARINT) == $outcome)
    or fail("INVALID", "5: the answer differs from the entry");

  my $identifiers = join " ", map { $_->{value} } sort { $a->{number} <=> $b->{number} } @$asked;
  "VALID $uuid at " . instant($seconds) . ": $method about $identifiers asked by $caller: " .
    (qw(? YES NO DISCLOSED))[$outcome] . ($method =~ /^estelam\.judiciary\./ ? coverage($answered) : "")
}

sub coverage {
  my $found = parse(last_of(shift, 2, $BYTES)); my ($since, $as_of) = map { parse(last_of($found, $_, $BYTES)) } 1, 2;
  (@$since ? sprintf(", complete since %04d-%02d-%02d", map { last_of($since, $_, $VARINT) } 1 .. 3) : "") .
    (@$as_of ? ", true as of " . instant(last_of($as_of, 1, $VARINT)) : "")
}

my ($saved, $certificates, $retired) = @ARGV; my $number = 0; $| = 1;
eval {
  @ARGV == 2 || @ARGV == 3 or fail("MALFORMED", "give the saved replies, one file of certificates and, if any, the retired keys");
  my $keys = signing_keys($certificates); retire($keys, $retired) if defined $retired;
  my $in = opened($saved);
  while (my $line = <$in>) {
    $line =~ s/^[ \t\r\n]+|[ \t\r\n]+\z//g; length $line or next;
    $number++; print shown(check($line, $keys)), "\n";
  }
  $number or fail("MALFORMED", "the file is empty"); 1
} or do {
  my $error = ref $@ ? $@ : { verdict => "NOT CHECKED", text => $@ };
  chomp(my $text = $error->{text});
  print STDERR "$error->{verdict}: ", $number ? "reply $number: " : "", shown($text), "\n";
  exit $EXITS{$error->{verdict}}
};
