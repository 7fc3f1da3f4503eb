// HttpUrl and AllowedHosts: where an http job wants to go, and whether it may.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <weft/base/status.h>

namespace weft::handlers {

// An http or https URL, taken apart by the same parser that libcurl connects with, so that what is
// checked is what is asked for.
class HttpUrl {
 public:
  // Errors: INVALID_ARGUMENT for any other scheme, a user name or password in it, a host outside of
  // ASCII (write it in punycode), or more than limits::kHttpUrlBytes.
  static StatusOr<HttpUrl> parse(const std::string& text);
  // Where a Location header leads to, seen from here. Errors: as parse().
  StatusOr<HttpUrl> follow(const std::string& location) const;

  const std::string& text() const { return text_; }
  const std::string& host() const { return host_; }  // lower case; IPv6 in brackets
  uint16_t port() const { return port_; }
  std::string host_and_port() const { return host_ + ":" + std::to_string(port_); }
  // Whether it has the scheme, host and port of `other`: credentials go to no other place.
  bool same_origin(const HttpUrl& other) const;
  // Whether the host is an address, so that there is no name to look up.
  bool is_address() const;

 private:
  static StatusOr<HttpUrl> parse_at(const HttpUrl* base, const std::string& text);
  std::string text_;
  std::string scheme_;
  std::string host_;
  uint16_t port_ = 0;
};

// The hosts that http jobs may reach, by name: NAME (its ports 80 and 443), NAME:PORT, *.DOMAIN
// (every name below DOMAIN, not itself) and *.DOMAIN:PORT. It is the name that is allowed, not what
// the name resolves to: whoever owns the name chooses the address.
class AllowedHosts {
 public:
  explicit AllowedHosts(const std::vector<std::string>& entries);
  bool allows(const HttpUrl& url) const;

 private:
  struct Entry {
    std::string host;  // lower case; ".domain" with its dot when `below`
    uint16_t port;     // 0: 80 and 443
    bool below;
  };
  std::vector<Entry> entries_;
};

// `text` as a message shows it: not longer than a line or two.
std::string shown(std::string_view text);

}  // namespace weft::handlers
