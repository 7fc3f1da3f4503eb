// URLs by libcurl's own parser.
#include "daemon/handlers/http_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include <weft/base/limits.h>

namespace weft::handlers {
namespace {

constexpr size_t kShownBytes = 200;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlPtr = std::unique_ptr<CURLU, FreeUrl>;

std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

uint16_t number(std::string_view digits) {
  uint16_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

}  // namespace

std::string shown(std::string_view text) {
  return text.size() <= kShownBytes ? std::string(text)
                                    : std::string(text.substr(0, kShownBytes)) + "…";
}

StatusOr<HttpUrl> HttpUrl::parse(const std::string& text) { return parse_at(nullptr, text); }

StatusOr<HttpUrl> HttpUrl::follow(const std::string& location) const {
  return parse_at(this, location);
}

StatusOr<HttpUrl> HttpUrl::parse_at(const HttpUrl* base, const std::string& text) {
  const auto refuse = [&text](std::string_view why) {
    return make_status(StatusCode::kInvalidArgument,
                       "the URL '" + shown(text) + "' " + std::string(why));
  };
  if (text.size() > limits::kHttpUrlBytes) {
    return refuse("has " + std::to_string(text.size()) + " bytes: the limit is " +
                  std::to_string(limits::kHttpUrlBytes));
  }
  if (text.find('\0') != std::string::npos) return refuse("has a zero byte: take it out");
  const UrlPtr url(curl_url());
  unsigned flags = CURLU_NON_SUPPORT_SCHEME | CURLU_DISALLOW_USER;
  if (base != nullptr) {
    curl_url_set(url.get(), CURLUPART_URL, base->text_.c_str(), 0);
    flags |= CURLU_URLENCODE;
  }
  const CURLUcode parsed = curl_url_set(url.get(), CURLUPART_URL, text.c_str(), flags);
  if (parsed == CURLUE_USER_NOT_ALLOWED) {
    return refuse("carries a user name or password: send them in an Authorization header");
  }
  if (parsed != CURLUE_OK) {
    return refuse("cannot be read (" + std::string(curl_url_strerror(parsed)) +
                  "): write it like https://example.com/path");
  }
  HttpUrl result;
  result.scheme_ = lower(part(url.get(), CURLUPART_SCHEME));
  if (result.scheme_ != "http" && result.scheme_ != "https") {
    return refuse("has the scheme '" + shown(result.scheme_) + "': use http or https");
  }
  result.host_ = lower(part(url.get(), CURLUPART_HOST));
  if (result.host_.empty()) return refuse("names no host: write it like https://example.com/path");
  // Names outside of ASCII are mapped by rules of their own, which could lead out of the list.
  if (std::any_of(result.host_.begin(), result.host_.end(),
                  [](char c) { return c <= ' ' || c > '~' || c == '%'; })) {
    return refuse("has a host that is not plain ASCII: write it in punycode (xn--…)");
  }
  result.port_ = number(part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT));
  if (result.port_ == 0) return refuse("has the port 0: use one from 1 to 65535");
  curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
  result.text_ = part(url.get(), CURLUPART_URL);
  if (result.text_.size() > limits::kHttpUrlBytes) return refuse("becomes too long: shorten it");
  return result;
}

bool HttpUrl::same_origin(const HttpUrl& other) const {
  return scheme_ == other.scheme_ && host_ == other.host_ && port_ == other.port_;
}

bool HttpUrl::is_address() const {
  in_addr ignored;
  return host_.front() == '[' || inet_pton(AF_INET, host_.c_str(), &ignored) == 1;
}

AllowedHosts::AllowedHosts(const std::vector<std::string>& entries) {
  for (const std::string& text : entries) {
    Entry entry{lower(text), 0, text.starts_with("*.")};
    if (entry.below) entry.host.erase(0, 1);
    const size_t colon = entry.host.rfind(':');
    if (colon != std::string::npos && !entry.host.ends_with("]")) {
      entry.port = number(std::string_view(entry.host).substr(colon + 1));
      entry.host.resize(colon);
    }
    // An address may be written in several ways; the parser knows one.
    if (!entry.below) {
      const StatusOr<HttpUrl> same = HttpUrl::parse("http://" + entry.host + "/");
      if (same.ok()) entry.host = same->host();
    }
    entries_.push_back(std::move(entry));
  }
}

bool AllowedHosts::allows(const HttpUrl& url) const {
  return std::any_of(entries_.begin(), entries_.end(), [&url](const Entry& entry) {
    const bool port =
        entry.port == 0 ? url.port() == 80 || url.port() == 443 : url.port() == entry.port;
    const bool host = entry.below ? url.host().size() > entry.host.size() &&
                                        url.host().ends_with(entry.host) && !url.is_address()
                                  : url.host() == entry.host;
    return port && host;
  });
}

}  // namespace weft::handlers
