// http: one request to an allowed host; the body comes as chunks while it is received.
#include "daemon/handlers/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "daemon/handlers/handlers.h"
#include "daemon/handlers/payload.h"

namespace weft::handlers {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::array kMethods = {"GET"sv, "HEAD"sv, "POST"sv, "PUT"sv, "PATCH"sv, "DELETE"sv};
// They say where a message ends and which way it takes; that is for us to say.
constexpr std::array kOwnHeaders = {"connection"sv, "content-length"sv,  "expect"sv,
                                    "host"sv,       "keep-alive"sv,      "proxy-authorization"sv,
                                    "te"sv,         "trailer"sv,         "transfer-encoding"sv,
                                    "upgrade"sv,    "proxy-connection"sv};
constexpr std::array kBodyHeaders = {"content-type"sv, "content-encoding"sv, "content-language"sv,
                                     "content-location"sv};

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  return result;
}

template <size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

template <size_t N>
void remove(HttpHeaders& headers, const std::array<std::string_view, N>& names) {
  std::erase_if(headers, [&](const auto& header) { return is_one_of(names, lower(header.first)); });
}

// Credentials are for the place they were given for, and come under any name (X-Api-Key).
void keep_harmless(HttpHeaders& headers) {
  std::erase_if(headers, [](const auto& header) {
    const std::string name = lower(header.first);
    return name != "accept" && !name.starts_with("accept-") && name != "user-agent" &&
           name != "range" && !name.starts_with("content-");
  });
}

[[noreturn]] void bad_field(const std::string& name, const std::string& why) {
  throw std::invalid_argument("the payload has a bad field '" + name + "': " + why);
}

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_token(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           "!#$%&'*+-.^_`|~"sv.find(c) != std::string_view::npos;
  });
}

bool has_control(const std::string& value) {
  return std::any_of(value.begin(), value.end(), [](char c) {
    return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f';
  });
}

HttpHeaders read_headers(const Fields& fields) {
  HttpHeaders headers;
  size_t bytes = 0;
  for (const auto& [name, value] : fields.text_map("headers")) {
    if (!is_token(name)) bad_field("headers", "'" + shown(name) + "' is not a header's name");
    if (is_one_of(kOwnHeaders, lower(name))) {
      bad_field("headers", "leave '" + name + "' out: it is set for each request");
    }
    if (has_control(value)) {
      bad_field("headers", "the value of '" + shown(name) +
                               "' has a control character: a value is one line of text");
    }
    bytes += name.size() + value.size() + 4;
    headers.emplace_back(name, trimmed(value));
  }
  if (bytes > limits::kHttpHeaderBytes) {
    bad_field("headers", "all of them together may have " +
                             std::to_string(limits::kHttpHeaderBytes) + " bytes");
  }
  return headers;
}

class HttpOptions {
 public:
  explicit HttpOptions(const Fields& fields)
      : request(read_url(fields)),
        follow(
            fields.integer("follow", 0, limits::kHttpRedirects).value_or(limits::kHttpRedirects)),
        fail_on_status(fields.boolean("fail_on_status").value_or(true)) {
    request.method = fields.text("method").value_or("GET");
    if (!is_one_of(kMethods, request.method)) {
      bad_field("method", "use GET, HEAD, POST, PUT, PATCH or DELETE");
    }
    request.headers = read_headers(fields);
    request.body = fields.text("body");
    if (request.body && (request.method == "GET" || request.method == "HEAD")) {
      bad_field("body", "it goes with POST, PUT, PATCH or DELETE, not with " + request.method);
    }
    request.timeout_ms =
        fields.integer("timeout_ms", 1, limits::kHttpTotalMs).value_or(limits::kHttpTotalMs);
    constexpr auto kBytes = static_cast<int64_t>(limits::kHttpBodyBytes);
    request.max_bytes =
        static_cast<uint64_t>(fields.integer("max_bytes", 0, kBytes).value_or(kBytes));
  }
  HttpRequest request;
  int64_t follow;
  bool fail_on_status;

 private:
  static HttpUrl read_url(const Fields& fields) {
    StatusOr<HttpUrl> url = HttpUrl::parse(fields.required_text("url"));
    if (!url.ok()) bad_field("url", std::string(from_absl(url.status().message())));
    return *std::move(url);
  }
};

std::string error_code(StatusCode code) {
  switch (code) {
    case StatusCode::kDeadlineExceeded:
      return "timeout";
    case StatusCode::kUnavailable:
      return "connection_failed";
    case StatusCode::kDataLoss:
      return "connection_lost";
    case StatusCode::kOutOfRange:
      return "too_large";
    case StatusCode::kFailedPrecondition:
      return "tls_failed";
    case StatusCode::kResourceExhausted:
      return "busy";
    default:
      return "http_error";
  }
}

// What may go well the next time, without anybody changing the job or this machine.
bool may_pass(StatusCode code) {
  return code == StatusCode::kDeadlineExceeded || code == StatusCode::kUnavailable ||
         code == StatusCode::kDataLoss || code == StatusCode::kResourceExhausted;
}

void check(const Status& status) {
  if (status.ok()) return;
  const std::string message(from_absl(status.message()));
  if (may_pass(status.code())) throw Transient(message, error_code(status.code()));
  throw Permanent(message, error_code(status.code()));
}

// Of a Retry-After header, in seconds or as a date; 0: it says nothing that can be used.
std::chrono::milliseconds retry_after(const HttpHead& head, int64_t wall_ns) {
  const std::string* text = head.find("retry-after");
  if (text == nullptr || text->empty()) return {};
  int64_t seconds = 0;
  if (std::all_of(text->begin(), text->end(), [](char c) { return c >= '0' && c <= '9'; })) {
    // One that is too long to be counted is as long as can be.
    const bool fits = text->size() <= 9;
    seconds = fits ? std::stoll(*text) : limits::kDurationSecondsMax;
  } else {
    const time_t date = curl_getdate(text->c_str(), nullptr);
    if (date != -1) seconds = static_cast<int64_t>(date) - wall_ns / 1'000'000'000;
  }
  return std::chrono::seconds(std::clamp<int64_t>(seconds, 0, limits::kDurationSecondsMax));
}

// A request that was refused as it is stays refused; a server that was busy or broken may recover.
[[noreturn]] void fail_with_status(const HttpRequest& request, const HttpHead& head,
                                   int64_t wall_ns) {
  const std::string message = "the answer to " + request.method + " " + shown(request.url.text()) +
                              " has the status " + std::to_string(head.status);
  const bool again =
      head.status >= 500 || head.status == 408 || head.status == 425 || head.status == 429;
  if (again) throw Transient(message, "http_status", retry_after(head, wall_ns));
  throw Permanent(message, "http_status");
}

void check_allowed(const AllowedHosts& allowed, const HttpUrl& url, const std::string& how) {
  if (allowed.allows(url)) return;
  throw Permanent(how + " " + url.host_and_port() +
                      ", which is not allowed: start weftd with --allow-host " +
                      url.host_and_port(),
                  "not_allowed");
}

bool is_redirect(const HttpHead& head) {
  return head.status == 301 || head.status == 302 || head.status == 303 || head.status == 307 ||
         head.status == 308;
}

// Makes `request` what the redirect asks for.
void redirect(HttpRequest& request, const HttpHead& head, const AllowedHosts& allowed) {
  const std::string& location = *head.find("location");
  StatusOr<HttpUrl> target = request.url.follow(location);
  if (!target.ok()) {
    throw Permanent(shown(request.url.text()) + " redirects to where no job may go: " +
                        std::string(from_absl(target.status().message())),
                    "not_allowed");
  }
  check_allowed(allowed, *target, shown(request.url.text()) + " redirects to");
  if (!target->same_origin(request.url)) keep_harmless(request.headers);
  const bool post_to_get = head.status <= 302 && request.method == "POST";
  if (post_to_get || (head.status == 303 && request.method != "HEAD")) {
    request.method = "GET";
    request.body.reset();
    remove(request.headers, kBodyHeaders);
  }
  request.url = *std::move(target);
}

nlohmann::json headers_of(const HttpHead& head) {
  std::map<std::string, std::string> joined;
  for (const auto& [name, value] : head.headers) {
    const auto [at, fresh] = joined.emplace(name, value);
    if (!fresh) at->second += ", " + value;
  }
  return joined;
}

}  // namespace

// Payload: {"url": URL, "method": "GET", "headers": {NAME: VALUE}, "body": TEXT, "timeout_ms": N,
// "max_bytes": N, "follow": 10, "fail_on_status": true}; only `url` is needed. Yields the body of
// the answer in pieces as they come. Returns {"status", "url" (after redirects), "headers" (names
// in lower case, several of one name joined with commas), "bytes", "redirects"}.
// While it waits for the network it holds no slot. A redirect to another origin takes along only
// the headers Accept, Accept-*, User-Agent, Range and Content-*. A status of 400 or more fails the
// job with http_status after its body, unless fail_on_status is false. Up to `follow` redirects are
// followed, each checked like the first URL, else too_many_redirects; with 0 the redirect itself is
// the answer. timeout_ms is for all of it, waits for the reader included, waits for a connection
// not. Retried by the job's policy: http_status of 408, 425, 429 and from 500 on, no sooner than
// the answer's Retry-After as far as the policy's longest pause goes, timeout, connection_failed,
// connection_lost, busy. For good: any other http_status, invalid_payload, not_allowed, tls_failed,
// too_large, http_error.
Stream<std::string> http(Job job, std::shared_ptr<HttpSettings> settings) {
  HttpOptions options = read_payload(
      job,
      {"url", "method", "headers", "body", "timeout_ms", "max_bytes", "follow", "fail_on_status"},
      [](const Fields& fields) { return HttpOptions(fields); });
  HttpRequest& request = options.request;
  EventLoop& loop = *EventLoop::current();
  check_allowed(settings->allowed, request.url, "the URL leads to");
  int64_t redirects = 0;
  for (;;) {
    auto started = co_await job.wait(settings->client.start(request));
    check(started.status());
    const int64_t begin_ns = loop.exact_now_ns();
    const std::unique_ptr<HttpTransfer> transfer = *std::move(started);
    HttpHead head;
    const Status answered = co_await job.wait(transfer->head(&head));
    check(answered);
    if (options.follow > 0 && is_redirect(head) && head.find("location") != nullptr) {
      if (redirects == options.follow) {
        throw Permanent("more than " + std::to_string(redirects) +
                            " redirects, the last one from " + shown(request.url.text()) +
                            ": raise follow or give the final URL",
                        "too_many_redirects");
      }
      redirect(request, head, settings->allowed);
      ++redirects;
      request.timeout_ms -= (loop.exact_now_ns() - begin_ns) / 1'000'000;
      if (request.timeout_ms <= 0) {
        throw Transient("time was up after " + std::to_string(redirects) + " redirects", "timeout");
      }
      continue;
    }
    uint64_t bytes = 0;
    for (;;) {
      Task<StatusOr<std::optional<std::string>>> next = transfer->next();
      if (!transfer->ready()) next = job.wait(std::move(next));
      auto piece = co_await next;
      check(piece.status());
      if (!*piece) break;
      bytes += (*piece)->size();
      co_yield std::move(**piece);
    }
    if (options.fail_on_status && head.status >= 400) {
      fail_with_status(request, head, loop.wall_ns());
    }
    job.set_result(Codec<nlohmann::json>::encode({{"status", head.status},
                                                  {"url", request.url.text()},
                                                  {"headers", headers_of(head)},
                                                  {"bytes", bytes},
                                                  {"redirects", redirects}}));
    co_return;
  }
}

}  // namespace weft::handlers
