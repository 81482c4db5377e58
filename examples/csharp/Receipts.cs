using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Estelam.Inquiry.V1;
using Google.Protobuf;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Crypto.Signers;

/// <summary>Verifies that a receipt proves a reply; docs/receipts.md says what that means.</summary>
internal static class Receipts
{
    /// <summary>Returns the ledger's entry if the receipt proves the reply without it, to the request; else null.</summary>
    public static Entry? Proven<TRequest, TReply>(X509Certificate2 certificate, string method, TRequest request, TReply bare,
        Answer answer, Receipt? receipt) where TRequest : IMessage<TRequest>, new() where TReply : IMessage<TReply>, new()
    {
        if (receipt is null) return null;
        try
        {
            var entry = Entry.Parser.ParseFrom(receipt.Entry);
            // 1 The receipt holds this question and this answer, and 2 the entry commits to them.
            var committed = Hash(receipt.Salt.ToByteArray(), Hash(receipt.Request.ToByteArray()), Hash(receipt.Reply.ToByteArray()));
            var isOwn = new MessageParser<TRequest>(() => new TRequest()).ParseFrom(receipt.Request).Equals(request)
                && new MessageParser<TReply>(() => new TReply()).ParseFrom(receipt.Reply).Equals(bare);
            if (!isOwn || entry.Method != method || AnswerOf(entry.Outcome) != answer || !entry.Commitment.Span.SequenceEqual(committed))
                return null;
            // 3 The checkpoint's tree has the entry.
            var parts = receipt.Checkpoint.Split("\n\n", 2);
            var head = parts[0].Split('\n');
            if (parts.Length < 2 || head.Length != 3) return null;
            var root = RootAbove(Hash([0], receipt.Entry.ToByteArray()), receipt.Index, ulong.Parse(head[1]), receipt.InclusionPath);
            if (root is null || Convert.ToBase64String(root) != head[2]) return null;
            // 4 The provider's key has signed the checkpoint of its own ledger, when its certificate was valid.
            var at = DateTimeOffset.FromUnixTimeSeconds((long)(entry.AnsweredAtMicros / 1_000_000)).UtcDateTime;
            var isValid = certificate.NotBefore.ToUniversalTime() <= at && at <= certificate.NotAfter.ToUniversalTime();
            var ledger = $"estelam/{method.Split('.')[1]}/{OrganizationOf(certificate)}";
            return isValid && head[0] == ledger && IsSigned(certificate, ledger, parts[0] + "\n", parts[1]) ? entry : null;
        }
        catch (Exception damaged) when (damaged is InvalidProtocolBufferException or FormatException or OverflowException)
        {
            return null;
        }
    }

    private static Answer? AnswerOf(Outcome outcome) => outcome switch
    {
        Outcome.Yes => Answer.Yes,
        Outcome.No => Answer.No,
        Outcome.Disclosed => Answer.Unspecified,
        _ => null,
    };

    private static bool IsSigned(X509Certificate2 certificate, string ledger, string body, string lines)
    {
        var key = certificate.PublicKey.EncodedKeyValue.RawData; // .NET has no Ed25519 of its own
        var name = Hash(Encoding.UTF8.GetBytes(ledger + "\n\u0001"), key)[..4];
        foreach (var line in lines.Split('\n'))
        {
            var words = line.Split(' ');
            if (words.Length != 3 || words[0] != "—" || words[1] != ledger) continue;
            var signature = Convert.FromBase64String(words[2]);
            if (signature.Length != 68 || !signature.AsSpan(0, 4).SequenceEqual(name)) continue;
            var verifier = new Ed25519Signer();
            verifier.Init(false, new Ed25519PublicKeyParameters(key));
            var signed = Encoding.UTF8.GetBytes(body);
            verifier.BlockUpdate(signed, 0, signed.Length);
            if (verifier.VerifySignature(signature[4..])) return true;
        }
        return false;
    }

    /// <summary>Returns the root above a leaf (RFC 9162); null if the path has too few or too many nodes.</summary>
    private static byte[]? RootAbove(byte[] leaf, ulong index, ulong size, IEnumerable<ByteString> path)
    {
        if (index >= size) return null;
        var (nodes, node) = (new Queue<ByteString>(path), leaf);
        for (var (i, end) = (index, size - 1); end > 0; i >>= 1, end >>= 1)
        {
            if ((i & 1) == 0 && i == end) continue; // no sibling at this level
            if (!nodes.TryDequeue(out var sibling)) return null;
            node = (i & 1) == 1 ? Hash([1], sibling.ToByteArray(), node) : Hash([1], node, sibling.ToByteArray());
        }
        return nodes.Count == 0 ? node : null;
    }

    public static byte[] Hash(params byte[][] parts) => SHA256.HashData(parts.SelectMany(part => part).ToArray());

    /// <summary>Returns the organisation that a certificate names (OID 2.5.4.97).</summary>
    public static string OrganizationOf(X509Certificate2 certificate) =>
        certificate.SubjectName.EnumerateRelativeDistinguishedNames()
            .FirstOrDefault(name => name.GetSingleElementType().Value == "2.5.4.97")?.GetSingleElementValue() ?? "";
}
