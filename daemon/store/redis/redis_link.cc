// Reading, writing and the deadline of one connection.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <weft/runtime/sleep.h>
#include <weft/store/redis/redis_link.h>

namespace weft {
namespace {

constexpr size_t kReadsPerTurn = 64;    // then the others have their turn
constexpr size_t kKeptBytes = 1 << 20;  // of an empty buffer
constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kGraceNs = 10 * kNsPerMs;  // for an answer of which something has just come

bool is_message(const RedisReply& reply) {
  return reply.size() == 3 && reply[0].text() == "message";
}

}  // namespace

RedisLink::RedisLink(std::unique_ptr<OwnedFd> fd, RedisLinkOptions options, RedisLinkOwner& owner)
    : loop_(*EventLoop::current()),
      fd_(std::move(fd)),
      options_(options),
      owner_(owner),
      heard_ns_(loop_.now_ns()) {
  loop_.poller().add(fd_->get(), *this);
  look_at(next_look_ns());
}

RedisLink::~RedisLink() {
  close(make_status(StatusCode::kUnavailable, "the connection was given up"));
  loop_.poller().remove(fd_->get());
}

bool RedisLink::has_room(size_t bytes) const {
  if (sent_.empty()) return true;
  return sent_.size() < options_.in_flight && bytes_ + bytes <= options_.in_flight_bytes;
}

uint64_t RedisLink::send(std::string_view command, RedisAsker* asker) {
  out_.append(command);
  bytes_ += command.size();
  sent_.push_back({asker, command.size(), 0});
  loop_.begin_external();
  request_write();
  return answered_ + sent_.size() - 1;
}

void RedisLink::close(const Status& why) {
  if (!open_) return;
  open_ = false;
  TurnEndHook::unlink();
  loop_.disarm(*this);
  out_.clear();
  while (!sent_.empty()) {
    const Sent sent = sent_.pop_front();
    ++answered_;
    loop_.end_external();
    if (sent.asker != nullptr) sent.asker->failed(why);
  }
  stamped_ = bytes_ = 0;
  readable_.set();
  owner_.on_closed(why);
}

Task<void> RedisLink::run() {
  while (open_) {
    co_await readable_.wait();
    readable_.reset();
    if (open_ && read_some()) {
      readable_.set();
      co_await yield_now();
    }
  }
}

bool RedisLink::read_some() {
  char buffer[RedisReader::kReadBytes];
  for (size_t reads = 0; reads < kReadsPerTurn; ++reads) {
    const ssize_t got = recv(fd_->get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (got <= 0) {
      close(make_status(StatusCode::kUnavailable,
                        got == 0 ? "it closed the connection" : std::strerror(errno)));
      return false;
    }
    heard_ns_ = loop_.now_ns();
    Status fed = reader_.feed({buffer, static_cast<size_t>(got)});
    while (fed.ok()) {
      RedisReply reply;
      const auto whole = reader_.next(reply);
      if (!whole.ok()) fed = whole.status();
      if (!whole.ok() || !*whole) break;
      on_reply(std::move(reply));
      if (!open_) return false;
    }
    if (!fed.ok()) {
      close(fed);
      return false;
    }
    owner_.on_room();
    // All there was; for more there will be an event. The peer's end came with an earlier one.
    if (!open_ || (static_cast<size_t>(got) < sizeof(buffer) && !peer_ended_)) return false;
  }
  return true;
}

void RedisLink::on_reply(RedisReply reply) {
  if (pushes_ && is_message(reply)) {
    owner_.on_push(std::move(reply));
    return;
  }
  if (sent_.empty()) {
    close(make_status(StatusCode::kUnavailable, reply.is_error()
                                                    ? "it said '" + reply.text() + "'"
                                                    : "it said something that nobody asked for"));
    return;
  }
  const Sent sent = sent_.pop_front();
  ++answered_;
  stamped_ -= std::min<size_t>(stamped_, 1);
  bytes_ -= sent.bytes;
  loop_.end_external();
  Status end;
  if (reply.is_error() && !owner_.on_error_reply(reply)) {
    end = make_status(StatusCode::kUnavailable, "it said '" + reply.text() + "'");
  }
  if (sent.asker != nullptr) sent.asker->answered(std::move(reply));
  if (!end.ok()) close(end);
}

void RedisLink::on_events(uint32_t events) {
  constexpr uint32_t kEnd = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & kEnd) != 0) peer_ended_ = true;
  if ((events & (EPOLLIN | kEnd)) != 0) readable_.set();
  if ((events & (EPOLLOUT | kEnd)) != 0) {
    writable_ = true;
    if (open_ && !out_.empty()) request_write();
  }
}

void RedisLink::request_write() {
  if (!TurnEndHook::linked()) loop_.at_turn_end(*this);
}

void RedisLink::on_turn_end() {
  const int64_t now_ns = loop_.now_ns();
  if (stamped_ == 0) heard_ns_ = now_ns;
  for (; stamped_ < sent_.size(); ++stamped_) sent_[stamped_].written_ns = now_ns;
  if (look_ns_ > next_look_ns()) look_at(next_look_ns());
  if (writable_) write_some();
}

void RedisLink::write_some() {
  while (out_written_ < out_.size()) {
    const ssize_t written = ::send(fd_->get(), out_.data() + out_written_,
                                   out_.size() - out_written_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      writable_ = false;
      if (out_written_ > out_.size() / 2) {
        out_.erase(0, out_written_);
        out_written_ = 0;
      }
      return;
    }
    if (written < 0) {
      const Status why = make_status(StatusCode::kUnavailable, std::strerror(errno));
      read_some();  // what it said before
      close(why);
      return;
    }
    out_written_ += static_cast<size_t>(written);
  }
  out_.clear();
  out_written_ = 0;
  if (out_.capacity() > kKeptBytes) out_.shrink_to_fit();
}

int64_t RedisLink::next_look_ns() {
  const int64_t answer_ns = options_.answer_ms * kNsPerMs;
  if (stamped_ > 0) return sent_.front().written_ns + answer_ns;
  const int64_t quiet_ns = options_.ping_ms > 0 ? options_.ping_ms * kNsPerMs : answer_ns;
  return heard_ns_ + quiet_ns;
}

void RedisLink::look_at(int64_t time_ns) {
  loop_.disarm(*this);
  // Not in this turn again, whatever the time.
  look_ns_ = std::max(time_ns, loop_.now_ns() + kNsPerMs);
  loop_.arm(*this, look_ns_);
}

void RedisLink::fire() {
  // If the loop stood still, what is late here may be in the socket already, or on its way.
  if (read_some()) readable_.set();
  if (!open_) return;
  const int64_t now_ns = loop_.now_ns();
  if (heard_ns_ < now_ns && stamped_ > 0 && next_look_ns() <= now_ns) {
    owner_.on_timeout();
    close(make_status(StatusCode::kUnavailable,
                      "it did not answer within " + std::to_string(options_.answer_ms) + " ms"));
    return;
  }
  if (sent_.empty() && options_.ping_ms > 0 && now_ns - heard_ns_ >= options_.ping_ms * kNsPerMs) {
    RedisCommand ping("PING");
    send(ping.text(), nullptr);
  }
  look_at(std::max(next_look_ns(), now_ns + kGraceNs));
}

}  // namespace weft
