// One libcurl easy handle: what it sends, and what its callbacks make of the answer.
#include <curl/curl.h>

#include <algorithm>
#include <cstring>

#include "daemon/handlers/http_client.h"

namespace weft::handlers {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && std::strchr(" \t\r\n", text.back()) != nullptr) text.remove_suffix(1);
  return text;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

bool has(const HttpHeaders& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(),
                     [name](const auto& header) { return same_name(header.first, name); });
}

void append(void*& list, const std::string& line) {
  list = curl_slist_append(static_cast<curl_slist*>(list), line.c_str());
}

StatusCode status_code(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return StatusCode::kDeadlineExceeded;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return StatusCode::kUnavailable;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
      return StatusCode::kDataLoss;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
      return StatusCode::kFailedPrecondition;
    default:
      return StatusCode::kInternal;
  }
}

}  // namespace

const std::string* HttpHead::find(std::string_view name) const {
  const auto found = std::find_if(headers.begin(), headers.end(),
                                  [name](const auto& header) { return header.first == name; });
  return found == headers.end() ? nullptr : &found->second;
}

HttpTransfer::HttpTransfer(HttpClient& client, std::unique_ptr<HttpPlace> place,
                           HttpRequest request)
    : client_(client),
      place_(std::move(place)),
      request_(std::move(request)),
      error_text_(CURL_ERROR_SIZE, '\0') {}

HttpTransfer::~HttpTransfer() {
  if (easy_ != nullptr) {
    curl_multi_remove_handle(client_.multi_, easy_);
    curl_easy_cleanup(easy_);
  }
  curl_slist_free_all(static_cast<curl_slist*>(header_list_));
  curl_slist_free_all(static_cast<curl_slist*>(address_list_));
}

Status HttpTransfer::begin(const std::string& addresses) {
  easy_ = curl_easy_init();
  if (easy_ == nullptr) return make_status(StatusCode::kInternal, "libcurl has no memory left");
  set_options();
  set_body();
  if (!addresses.empty()) {
    append(address_list_, "+" + request_.url.host_and_port() + ":" + addresses);
    curl_easy_setopt(easy_, CURLOPT_RESOLVE, address_list_);
  }
  for (const auto& [name, value] : request_.headers) {
    append(header_list_, value.empty() ? name + ";" : name + ": " + value);
  }
  // What libcurl would add by itself: a body's type that we do not know, and a round trip to ask
  // whether a large one is welcome.
  if (!has(request_.headers, "content-type")) append(header_list_, "Content-Type:");
  append(header_list_, "Expect:");
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, header_list_);
  const CURLMcode added = curl_multi_add_handle(client_.multi_, easy_);
  if (added == CURLM_OK) return absl::OkStatus();
  return make_status(StatusCode::kInternal, curl_multi_strerror(added));
}

void HttpTransfer::set_options() {
  CURL* easy = easy_;
  curl_easy_setopt(easy, CURLOPT_URL, request_.url.text().c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");  // also none from the environment
  curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "weft");
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeout_ms));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(client_.options_.connect_ms));
  // The timer for a second address also looks at the socket, ahead of answers that came first.
  if (request_.url.is_address()) {
    curl_easy_setopt(easy, CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS,
                     static_cast<long>(request_.timeout_ms));
  }
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text_.data());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &HttpTransfer::header_callback);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &HttpTransfer::body_callback);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
}

void HttpTransfer::set_body() {
  CURL* easy = easy_;
  const std::string& method = request_.method;
  if (method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    return;
  }
  if (request_.body || method == "POST" || method == "PUT" || method == "PATCH") {
    const std::string_view body = request_.body ? std::string_view(*request_.body) : "";
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
  }
  if (method != "GET") curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
}

Task<Status> HttpTransfer::head(HttpHead* out) {
  while (!head_done_ && !ended_) co_await changed_.wait();
  if (!head_done_) co_return result_.ok() ? not_an_answer() : result_;
  *out = head_;
  co_return absl::OkStatus();
}

Task<StatusOr<std::optional<std::string>>> HttpTransfer::next() {
  while (buffer_.empty() && !ended_) co_await changed_.wait();
  if (!buffer_.empty()) {
    std::optional<std::string> piece = std::exchange(buffer_, std::string());
    if (std::exchange(paused_, false) && easy_ != nullptr) {
      const CURLcode resumed = curl_easy_pause(easy_, CURLPAUSE_CONT);  // may call body_callback
      if (resumed != CURLE_OK) on_end(resumed);
    }
    co_return piece;
  }
  if (!result_.ok()) co_return result_;
  co_return std::optional<std::string>();
}

void HttpTransfer::on_end(int code) {
  result_ = failure(code);
  curl_multi_remove_handle(client_.multi_, easy_);
  curl_easy_cleanup(std::exchange(easy_, nullptr));
  ended_ = true;
  changed_.notify_all();
}

Status HttpTransfer::failure(int code) const {
  if (!refused_.ok()) return refused_;
  if (code == CURLE_OK) return absl::OkStatus();
  const auto curl_code = static_cast<CURLcode>(code);
  const std::string why =
      error_text_[0] == '\0' ? curl_easy_strerror(curl_code) : error_text_.data();
  return make_status(status_code(curl_code),
                     request_.method + " " + shown(request_.url.text()) + " failed: " + why);
}

Status HttpTransfer::not_an_answer() const {
  return make_status(StatusCode::kInternal,
                     shown(request_.url.text()) +
                         " switches to another protocol, which was not asked for: give the URL of "
                         "a server that answers by HTTP/1.1");
}

bool HttpTransfer::on_header(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > client_.options_.header_bytes) {
    refused_ = make_status(StatusCode::kOutOfRange,
                           shown(request_.url.text()) + " answers with more than " +
                               std::to_string(client_.options_.header_bytes) + " bytes of headers");
    return false;
  }
  if (head_done_) return true;  // trailers are counted and left out
  if (line.starts_with("HTTP/")) {
    head_ = {};
    return true;
  }
  const std::string_view text = trimmed(line);
  if (text.empty()) {
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    head_.status = static_cast<int>(status);
    if (status == 101) {  // from here on it is no HTTP, and might never end
      refused_ = not_an_answer();
      return false;
    }
    head_done_ = status >= 200;  // below, the real answer follows
    if (head_done_) changed_.notify_all();
    return true;
  }
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return true;
  std::string name(trimmed(text.substr(0, colon)));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(c < 128 ? std::tolower(c) : c); });
  head_.headers.emplace_back(std::move(name), trimmed(text.substr(colon + 1)));
  return true;
}

size_t HttpTransfer::on_body(std::string_view data) {
  if (received_ + data.size() > request_.max_bytes) {
    refused_ = make_status(StatusCode::kOutOfRange, shown(request_.url.text()) +
                                                        " answers with more than " +
                                                        std::to_string(request_.max_bytes) +
                                                        " bytes: raise max_bytes or ask for less");
    return 0;
  }
  if (!buffer_.empty() && buffer_.size() + data.size() > client_.options_.buffer_bytes) {
    paused_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  received_ += data.size();
  buffer_.append(data);
  changed_.notify_all();
  return data.size();
}

size_t HttpTransfer::header_callback(char* data, size_t size, size_t count, void* transfer) {
  const std::string_view line(data, size * count);
  return static_cast<HttpTransfer*>(transfer)->on_header(line) ? line.size() : 0;
}

size_t HttpTransfer::body_callback(char* data, size_t size, size_t count, void* transfer) {
  return static_cast<HttpTransfer*>(transfer)->on_body({data, size * count});
}

}  // namespace weft::handlers
