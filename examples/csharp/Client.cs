// Asks CheckNote about notes: mTLS, deadline, retries, error details, and no answer without a valid receipt.
//
//     dotnet bin/client.dll TARGET PKI OBLIGOR BENEFICIARY AMOUNT SERIAL...    prints the answer about each serial
//     dotnet bin/client.dll testdata DIR                                       checks this program with the test vectors

using System.Diagnostics;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Estelam.Inquiry.V1;
using Estelam.Judiciary.V1;
using Estelam.Promissory.V1;
using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;

const string Method = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote";
const int MaxCalls = 3;
TimeSpan deadline = TimeSpan.FromSeconds(5), clock = TimeSpan.FromMinutes(1);

if (args[0] == "testdata")
{
    CheckTestdata(args[1]);
    return;
}
string Pki(string name) => Path.Combine(args[1], name);
// Through PKCS#12, without which Windows does not use a key from a PEM file for TLS.
using var pem = X509Certificate2.CreateFromPemFile(Pki("setad.crt"), Pki("setad.key"));
using var own = new X509Certificate2(pem.Export(X509ContentType.Pkcs12));
var trust = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
trust.CustomTrustStore.Add(X509Certificate2.CreateFromPem(File.ReadAllText(Pki("ca.crt"))));
var tls = new SslClientAuthenticationOptions { ClientCertificates = new X509CertificateCollection { own }, CertificateChainPolicy = trust };
using var channel = GrpcChannel.ForAddress($"https://{args[0]}", new GrpcChannelOptions { HttpHandler = new SocketsHttpHandler { SslOptions = tls } });
var client = new PromissoryNoteInquiryService.PromissoryNoteInquiryServiceClient(channel);
var provider = X509Certificate2.CreateFromPem(File.ReadAllText(Pki("promissory-receipts.crt")));
foreach (var serial in args[5..])
{
    var note = new CheckNoteRequest { Serial = serial, ObligorId = args[2], BeneficiaryId = args[3], AmountRials = long.Parse(args[4]) };
    Console.WriteLine($"{serial} {await Ask(note)}");
}

// Returns YES or NO, or why there is no answer.
async Task<string> Ask(CheckNoteRequest note)
{
    var since = Stopwatch.StartNew();
    for (var calls = 1; ; calls++)
    {
        var nonce = Convert.ToHexString(RandomNumberGenerator.GetBytes(16)).ToLowerInvariant();
        try
        {
            var reply = await client.CheckNoteAsync(note, new Metadata { { "x-nonce", nonce } }, DateTime.UtcNow + deadline);
            if (reply.Answer is not (Answer.Yes or Answer.No)) return "NO ANSWER UNSPECIFIED"; // never a NO
            var bare = reply.Clone();
            bare.Receipt = null;
            var entry = Receipts.Proven(provider, Method, note, bare, reply.Answer, reply.Receipt);
            return entry is not null && IsOwn(entry, nonce) ? reply.Answer.ToString().ToUpperInvariant() : "NO ANSWER BAD_RECEIPT";
        }
        catch (RpcException error)
        {
            var problem = Problem.Of(error.Trailers.GetValueBytes("grpc-status-details-bin") ?? []);
            var wait = Wait(error, problem, calls);
            if (wait is null || calls == MaxCalls || since.Elapsed + wait > 2 * deadline)
            {
                var reason = problem.Reason == "" ? error.StatusCode.ToString() : problem.Reason;
                return $"NO ANSWER {reason} {problem.Layer} after {calls} calls {string.Join(',', problem.Fields)}".TrimEnd();
            }
            await Task.Delay(wait.Value);
        }
    }
}

// Returns whether the receipt is of this very call, and not a genuine one of another.
bool IsOwn(Entry entry, string nonce)
{
    var age = DateTimeOffset.UtcNow - DateTimeOffset.FromUnixTimeMilliseconds((long)(entry.AnsweredAtMicros / 1000));
    return age.Duration() < clock && entry.Caller == Receipts.OrganizationOf(own)
        && entry.Nonce.Span.SequenceEqual(Receipts.Hash(Encoding.ASCII.GetBytes(nonce)));
}

// Returns how long to wait before the next call; null: don't call again.
static TimeSpan? Wait(RpcException error, Problem problem, int calls)
{
    if (error.Trailers.GetValue("grpc-retry-pushback-ms") is { } pushback)
        return pushback.StartsWith('-') ? null : TimeSpan.FromMilliseconds(int.Parse(pushback));
    if (error.StatusCode is not (StatusCode.Unavailable or StatusCode.Cancelled)) return null;
    return problem.Retry ?? TimeSpan.FromMilliseconds(100 << calls);
}

static void CheckTestdata(string folder)
{
    var receipts = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "receipts.json"))).RootElement;
    var certificate = X509Certificate2.CreateFromPem(receipts.GetProperty("certificate").GetString());
    foreach (var vector in receipts.GetProperty("receipts").EnumerateArray())
    {
        byte[] request = vector.GetProperty("request").GetBytesFromBase64(), reply = vector.GetProperty("reply").GetBytesFromBase64();
        var entry = ProvenVector(certificate, vector.GetProperty("method").GetString()!, request, reply);
        Console.WriteLine($"receipt {vector.GetProperty("name").GetString()}: {(entry is null ? "invalid" : "valid")}");
    }
    var errors = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "errors.json"))).RootElement;
    foreach (var vector in errors.GetProperty("errors").EnumerateArray())
    {
        var problem = Problem.Of(vector.GetProperty("status_details").GetBytesFromBase64());
        var retry = problem.Retry is { } wait ? $"{wait.TotalMilliseconds}" : "-";
        var fields = problem.Fields.Count == 0 ? "-" : string.Join(',', problem.Fields);
        Console.WriteLine($"error {problem.Reason}: {problem.Layer} {retry} {fields}");
    }
}

static Entry? ProvenVector(X509Certificate2 certificate, string method, byte[] request, byte[] reply)
{
    if (method.EndsWith("/CheckNote"))
    {
        var (found, bare) = (CheckNoteResponse.Parser.ParseFrom(reply), CheckNoteResponse.Parser.ParseFrom(reply));
        bare.Receipt = null;
        return Receipts.Proven(certificate, method, CheckNoteRequest.Parser.ParseFrom(request), bare, found.Answer, found.Receipt);
    }
    if (method.EndsWith("/GetNoteParties"))
    {
        var (found, bare) = (GetNotePartiesResponse.Parser.ParseFrom(reply), GetNotePartiesResponse.Parser.ParseFrom(reply));
        bare.Receipt = null;
        return Receipts.Proven(certificate, method, GetNotePartiesRequest.Parser.ParseFrom(request), bare, Answer.Unspecified, found.Receipt);
    }
    var (answered, without) = (CheckByTrackingIdResponse.Parser.ParseFrom(reply), CheckByTrackingIdResponse.Parser.ParseFrom(reply));
    without.Receipt = null;
    return Receipts.Proven(certificate, method, CheckByTrackingIdRequest.Parser.ParseFrom(request), without, answered.Answer, answered.Receipt);
}

/// <summary>What the error details say; Retry is null where they name no time.</summary>
internal sealed record Problem(string Reason, string Layer, TimeSpan? Retry, List<string> Fields)
{
    public static Problem Of(byte[] wire)
    {
        var found = new Problem("", "-", null, []);
        foreach (var detail in Google.Rpc.Status.Parser.ParseFrom(wire).Details)
        {
            if (detail.Is(ErrorInfo.Descriptor))
            {
                var info = detail.Unpack<ErrorInfo>();
                found = found with { Reason = info.Reason, Layer = info.Metadata.GetValueOrDefault("layer", "-") };
            }
            else if (detail.Is(RetryInfo.Descriptor))
                found = found with { Retry = detail.Unpack<RetryInfo>().RetryDelay.ToTimeSpan() };
            else if (detail.Is(BadRequest.Descriptor))
                found.Fields.AddRange(detail.Unpack<BadRequest>().FieldViolations.Select(each => each.Field));
        }
        return found;
    }
}
