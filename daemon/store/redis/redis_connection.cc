// Connecting again and again, letting in, and calls.
#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include <weft/base/random.h>
#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/fd_watch.h>
#include <weft/runtime/sleep.h>
#include <weft/store/redis/redis_address.h>
#include <weft/store/redis/redis_connection.h>
#include <weft/store/redis/redis_link.h>
#include <weft/store/redis/redis_login.h>
#include <weft/store/redis/redis_refusal.h>

namespace weft {
namespace {

// While a server is waited for that has not been asked anything yet.
class ExternalWork {
 public:
  ExternalWork() { EventLoop::current()->begin_external(); }
  ~ExternalWork() { EventLoop::current()->end_external(); }
  ExternalWork(const ExternalWork&) = delete;
  ExternalWork& operator=(const ExternalWork&) = delete;
};

std::string text_of(const Status& status) { return std::string(from_absl(status.message())); }

}  // namespace

class RedisConnection::Impl final : public RedisLinkOwner {
 public:
  Impl(RedisServer server, std::string name, RedisConnectionOptions options)
      : server_(std::move(server)),
        address_(to_text(server_)),
        name_(std::move(name)),
        options_(options),
        random_(options.seed != 0 ? Random(options.seed) : Random::from_system()) {
    health_ = lost("it is not connected yet");
    for (size_t i = 0; i < kRedisLoginSteps; ++i) login_[i].begin(*this, i);
    checking_.begin(*this);
    subscription_.begin(*this);
    naming_.begin(*this);
  }
  ~Impl() {
    WEFT_CHECK(!running_, "a Redis connection ends after its run()");
    WEFT_CHECK(waiting_.empty(), "a call fails when the connection is lost");
  }

  Task<void> run();
  class [[nodiscard]] Answer;
  Task<Status> load(const RedisScript& script);

  bool connected() const { return connected_.is_set(); }
  Event& connected_event() { return connected_; }
  const std::string& address() const { return address_; }
  RedisConnectionStats stats() const {
    return {connects_, timeouts_, commands_, pushes_, refusals_.list(), health_};
  }
  void set_scripts(std::vector<const RedisScript*> scripts) { scripts_ = std::move(scripts); }
  void set_check(Check check) { check_ = std::move(check); }
  void set_on_connected(std::function<void()> on_connected) {
    on_connected_ = std::move(on_connected);
  }
  void subscribe(std::string channel, std::function<void(std::string)> on_message,
                 std::function<void()> on_subscribed) {
    channel_ = std::move(channel);
    on_message_ = std::move(on_message);
    on_subscribed_ = std::move(on_subscribed);
    if (connected()) send_subscribe();
  }

 private:
  // The answer to one of the commands that let the connection in.
  class LoginStep final : public RedisAsker {
   public:
    void begin(Impl& impl, size_t step) {
      impl_ = &impl;
      step_ = step;
    }
    void answered(RedisReply reply) override { impl_->on_login_answer(step_, reply); }
    void failed(const Status&) override {}

   private:
    Impl* impl_ = nullptr;
    size_t step_ = 0;
  };
  class Checking final : public RedisAsker {
   public:
    void begin(Impl& impl) { impl_ = &impl; }
    void answered(RedisReply reply) override { impl_->check(&reply); }
    void failed(const Status&) override {}

   private:
    Impl* impl_ = nullptr;
  };
  class Subscription final : public RedisAsker {
   public:
    void begin(Impl& impl) { impl_ = &impl; }
    void answered(RedisReply reply) override { impl_->on_subscribe_answer(reply); }
    void failed(const Status&) override {}

   private:
    Impl* impl_ = nullptr;
  };
  // Tells how the server calls the connection; the last before it is let in.
  class Naming final : public RedisAsker {
   public:
    void begin(Impl& impl) { impl_ = &impl; }
    void answered(RedisReply reply) override { impl_->on_named(reply); }
    void failed(const Status&) override {}

   private:
    Impl* impl_ = nullptr;
  };
  struct Loading {
    Event done;
    Status result;
  };

  bool on_error_reply(const RedisReply& reply) override;
  void on_push(RedisReply reply) override;
  void on_room() override;
  void on_timeout() override { ++timeouts_; }
  void on_closed(const Status& why) override;

  Task<Status> open(std::unique_ptr<OwnedFd>* fd);
  Task<Status> find_addresses(std::vector<RedisAddress>* addresses);
  Task<void> stay_connected();
  void log_in();
  void on_login_answer(size_t step, const RedisReply& reply);
  void check(const RedisReply* answer);
  void make_ready();
  void end_former();
  void on_named(const RedisReply& reply);
  void on_subscribe_answer(const RedisReply& reply);
  void send_subscribe();
  void let_in();
  std::chrono::milliseconds next_pause();
  // What callers are told, and health().
  Status lost(const std::string& why) const {
    return retry_error(
        StatusCode::kUnavailable,
        "there is no connection to " + address_ + " (" + why + "): try again when Redis is back",
        static_cast<int>(limits::kRedisRetryMsMax));
  }

  const RedisServer server_;
  const std::string address_;
  const std::string name_;
  const RedisConnectionOptions options_;
  Random random_;

  bool running_ = false;
  std::shared_ptr<RedisLookup> lookup_;  // one at a time, and it may outlast several tries
  std::optional<RedisLink> link_;
  std::array<LoginStep, kRedisLoginSteps> login_;
  Checking checking_;
  Subscription subscription_;
  Naming naming_;
  std::string id_;  // and the address, of the last connection, as the server has them
  std::string peer_;
  Event connected_;
  Status health_;
  int failures_ = 0;  // tries since it was last connected

  std::vector<const RedisScript*> scripts_;
  Check check_;
  std::function<void()> on_connected_;
  std::string channel_;
  std::function<void(std::string)> on_message_;
  std::function<void()> on_subscribed_;

  IntrusiveList<Answer, Answer> waiting_;  // for room on the link
  std::map<std::string, std::shared_ptr<Loading>, std::less<>> loading_;

  uint64_t connects_ = 0;
  uint64_t timeouts_ = 0;
  uint64_t commands_ = 0;
  uint64_t pushes_ = 0;
  RedisRefusals refusals_;
};

// co_await Answer(impl, command): the answer to `command`, which the caller keeps until it is sent.
// The result lives here, so a caller that is cancelled leaves nothing behind but a ticket.
class RedisConnection::Impl::Answer final : public Waiter,
                                            public RedisAsker,
                                            public ListNode<Answer> {
 public:
  Answer(Impl& impl, RedisCommand& command) : impl_(impl), command_(command) {}

  bool await_ready() {
    if (refused()) return true;
    if (impl_.connected()) return false;
    result_ = impl_.health_;
    return true;
  }
  void await_suspend(std::coroutine_handle<> handle) {
    park(handle);
    if (impl_.waiting_.empty() && impl_.link_->has_room(command_.bytes())) {
      send();
    } else {
      impl_.waiting_.push_back(*this);
    }
  }
  StatusOr<RedisReply> await_resume() {
    check();
    return std::move(result_);
  }
  bool cancel() noexcept override {
    if (linked()) {
      unlink();
      impl_.on_room();  // those behind a large command may go now
    } else {
      impl_.link_->forget(ticket_);
    }
    return true;
  }
  std::string_view what() const override { return "Redis"; }

  size_t bytes() const { return command_.bytes(); }
  void send() {
    ++impl_.commands_;
    ticket_ = impl_.link_->send(command_.text(), this);
  }
  void answered(RedisReply reply) override {
    result_ = std::move(reply);
    complete();
  }
  void failed(const Status& why) override {
    result_ = impl_.lost(text_of(why) + "; the call may have been carried out");
    complete();
  }
  void never_sent() {
    result_ = impl_.health_;
    complete();
  }

 private:
  Impl& impl_;
  RedisCommand& command_;
  uint64_t ticket_ = 0;
  StatusOr<RedisReply> result_;
};

// ---- connecting

Task<void> RedisConnection::Impl::run() {
  WEFT_CHECK(!running_, "a Redis connection runs once at a time");
  running_ = true;
  struct Stop {
    Impl& impl;
    ~Stop() {
      impl.running_ = false;
      impl.health_ = impl.lost("it was ended here");
    }
  } const stop{*this};
  while (true) {
    co_await stay_connected();
    ++failures_;
    co_await sleep_for(next_pause());
  }
}

std::chrono::milliseconds RedisConnection::Impl::next_pause() {
  int64_t pause_ms = limits::kRedisRetryMs;
  for (int i = 1; i < failures_ && pause_ms < limits::kRedisRetryMsMax; ++i) pause_ms *= 2;
  pause_ms = std::min(pause_ms, limits::kRedisRetryMsMax);
  // So that the daemons of a cluster do not all come back at once.
  const int64_t half_ms = pause_ms / 2;
  return std::chrono::milliseconds(
      half_ms + static_cast<int64_t>(random_.below(static_cast<uint64_t>(pause_ms - half_ms) + 1)));
}

Task<void> RedisConnection::Impl::stay_connected() {
  std::unique_ptr<OwnedFd> fd;
  Status opened;
  {
    const ExternalWork external;
    CancelScope scope;
    scope.set_deadline_after(std::chrono::milliseconds(options_.connect_ms));
    auto connect = [](Impl* impl, std::unique_ptr<OwnedFd>* to, Status* result) -> Task<void> {
      *result = co_await impl->open(to);
    };
    const bool in_time = co_await scope.run(connect(this, &fd, &opened));
    if (!in_time) {
      ++timeouts_;
      opened =
          make_status(StatusCode::kUnavailable,
                      "it was not reached within " + std::to_string(options_.connect_ms) + " ms");
    }
  }
  if (!opened.ok()) {
    health_ = lost(text_of(opened));
    co_return;
  }
  // To be let in is a part of being connected, and has that time.
  link_.emplace(std::move(fd),
                RedisLinkOptions{options_.connect_ms, options_.ping_ms, options_.in_flight,
                                 options_.in_flight_bytes},
                *this);
  struct Drop {
    Impl& impl;
    ~Drop() { impl.link_.reset(); }
  } const drop{*this};
  log_in();
  co_await link_->run();
}

Task<Status> RedisConnection::Impl::find_addresses(std::vector<RedisAddress>* addresses) {
  if (lookup_ == nullptr) {
    auto started = RedisLookup::start(server_);
    if (!started.ok()) co_return started.status();
    lookup_ = std::move(*started);
  }
  if (!lookup_->done()) {
    FdWatch watch(lookup_->fd());
    watch.clear_readable();
    co_await watch.readable();
  }
  auto found = std::exchange(lookup_, nullptr)->take_addresses();
  if (!found.ok()) co_return found.status();
  *addresses = std::move(*found);
  co_return Status();
}

Task<Status> RedisConnection::Impl::open(std::unique_ptr<OwnedFd>* fd) {
  std::vector<RedisAddress> addresses;
  Status result = co_await find_addresses(&addresses);
  if (!result.ok()) co_return result;
  for (const RedisAddress& address : addresses) {
    auto socket = open_redis_socket(address);
    result = socket.status();
    if (!result.ok()) continue;
    if (!socket->connected) {
      FdWatch watch(socket->fd->get());
      watch.clear_writable();
      co_await watch.writable();
      result = connect_error(socket->fd->get());
      if (!result.ok()) continue;
    }
    *fd = std::move(socket->fd);
    co_return Status();
  }
  co_return result;
}

void RedisConnection::Impl::log_in() {
  auto commands = login_commands(server_, name_);
  for (size_t i = 0; i < kRedisLoginSteps; ++i) link_->send(commands[i].text(), &login_[i]);
}

void RedisConnection::Impl::on_login_answer(size_t step, const RedisReply& reply) {
  const Status allowed = check_login_answer(step, reply, server_);
  if (!allowed.ok()) {
    link_->close(allowed);
  } else if (step + 1 == kRedisLoginSteps) {
    end_former();
    check(nullptr);
  }
}

void RedisConnection::Impl::check(const RedisReply* answer) {
  if (!check_) return make_ready();
  StatusOr<std::optional<RedisCommand>> next = check_(answer);
  if (!next.ok()) {
    link_->close(next.status());
  } else if (*next) {
    link_->send((*next)->text(), &checking_);
  } else {
    make_ready();
  }
}

void RedisConnection::Impl::make_ready() {
  for (const RedisScript* script : scripts_) {
    RedisCommand load("SCRIPT");
    link_->send(load.add("LOAD").add(script->text).text(), nullptr);
  }
  RedisCommand info("CLIENT");
  link_->send(info.add("INFO").text(), &naming_);
}

// The server may still have commands of the lost connection to carry out, after those of this one.
// With the address, because a server that was started again gives the same ids to others.
void RedisConnection::Impl::end_former() {
  if (id_.empty()) return;
  RedisCommand command("CLIENT");
  command.add("KILL").add("ID").add(id_).add("ADDR").add(peer_);
  link_->send(command.text(), nullptr);
}

void RedisConnection::Impl::on_named(const RedisReply& reply) {
  id_ = client_field(reply, "id");
  peer_ = client_field(reply, "addr");
  if (peer_.empty()) id_.clear();
  if (channel_.empty()) {
    let_in();
  } else {
    send_subscribe();
  }
}

void RedisConnection::Impl::send_subscribe() {
  RedisCommand command("SUBSCRIBE");
  command.add(channel_);
  link_->send(command.text(), &subscription_);
}

void RedisConnection::Impl::on_subscribe_answer(const RedisReply& reply) {
  if (reply.is_error()) {
    link_->close(status_of(refusal_of(reply.text()), address_, reply.text()));
    return;
  }
  link_->expect_pushes();
  if (!connected()) let_in();
  on_subscribed_();
}

void RedisConnection::Impl::let_in() {
  ++connects_;
  failures_ = 0;
  health_ = Status();
  link_->set_answer_ms(options_.command_ms);
  if (on_connected_) on_connected_();
  connected_.set();
}

// ---- what the link tells

bool RedisConnection::Impl::on_error_reply(const RedisReply& reply) {
  const RedisRefusal refusal = refusal_of(reply.text());
  refusals_.count(refusal);
  return refusal != RedisRefusal::kReadOnly;
}

void RedisConnection::Impl::on_push(RedisReply reply) {
  ++pushes_;
  if (on_message_) on_message_(reply.at(2).take_text());
}

void RedisConnection::Impl::on_room() {
  while (connected() && !waiting_.empty() && link_->has_room(waiting_.front().bytes())) {
    waiting_.pop_front()->send();
  }
}

void RedisConnection::Impl::on_closed(const Status& why) {
  connected_.reset();
  health_ = lost(text_of(why));
  while (Answer* answer = waiting_.pop_front()) answer->never_sent();
}

// ---- calls

RedisConnection::RedisConnection(RedisServer server, std::string name,
                                 RedisConnectionOptions options)
    : impl_(std::make_unique<Impl>(std::move(server), std::move(name), options)) {}
RedisConnection::~RedisConnection() = default;

Task<void> RedisConnection::run() { return impl_->run(); }

Task<StatusOr<RedisReply>> RedisConnection::call(RedisCommand command) {
  Impl::Answer answer(*impl_, command);
  StatusOr<RedisReply> reply = co_await answer;
  if (reply.ok() && reply->is_error()) {
    co_return status_of(refusal_of(reply->text()), impl_->address(), reply->text());
  }
  co_return reply;
}

Task<StatusOr<RedisReply>> RedisConnection::call_script(const RedisScript& script,
                                                        RedisCommand arguments) {
  for (bool repeated = false;; repeated = true) {
    Impl::Answer answer(*impl_, arguments);
    StatusOr<RedisReply> reply = co_await answer;
    if (!reply.ok() || !reply->is_error()) co_return reply;
    const RedisRefusal refusal = refusal_of(reply->text());
    if (refusal != RedisRefusal::kNoScript || repeated) {
      co_return status_of(refusal, impl_->address(),
                          "script " + std::string(script.name) + ": " + reply->text());
    }
    const Status loaded = co_await impl_->load(script);
    if (!loaded.ok()) co_return loaded;
  }
}

// All that wait for one script load it once.
Task<Status> RedisConnection::Impl::load(const RedisScript& script) {
  if (const auto found = loading_.find(script.sha1); found != loading_.end()) {
    const std::shared_ptr<Loading> loading = found->second;
    co_await loading->done.wait();
    co_return loading->result;
  }
  const auto loading = std::make_shared<Loading>();
  loading_.emplace(script.sha1, loading);
  struct Done {  // also when this caller is cancelled: then the others' repeated calls tell
    Impl& impl;
    const RedisScript& script;
    Loading& loading;
    ~Done() {
      impl.loading_.erase(script.sha1);
      loading.done.set();
    }
  } const done{*this, script, *loading};
  RedisCommand command("SCRIPT");
  command.add("LOAD").add(script.text);
  Answer answer(*this, command);
  const StatusOr<RedisReply> reply = co_await answer;
  if (!reply.ok()) {
    loading->result = reply.status();
  } else if (reply->is_error()) {
    loading->result = status_of(refusal_of(reply->text()), address_,
                                "script " + std::string(script.name) + ": " + reply->text());
  } else if (reply->text() != script.sha1) {
    loading->result = make_status(StatusCode::kInternal, "script " + std::string(script.name) +
                                                             " has another SHA-1 in Redis: report "
                                                             "it with the version of weftd");
  }
  co_return loading->result;
}

void RedisConnection::subscribe(std::string channel, std::function<void(std::string)> on_message,
                                std::function<void()> on_subscribed) {
  impl_->subscribe(std::move(channel), std::move(on_message), std::move(on_subscribed));
}

void RedisConnection::set_scripts(std::vector<const RedisScript*> scripts) {
  impl_->set_scripts(std::move(scripts));
}

void RedisConnection::set_check(Check check) { impl_->set_check(std::move(check)); }

void RedisConnection::set_on_connected(std::function<void()> on_connected) {
  impl_->set_on_connected(std::move(on_connected));
}

bool RedisConnection::connected() const { return impl_->connected(); }

Task<void> RedisConnection::wait_connected() {
  while (!impl_->connected()) co_await impl_->connected_event().wait();
}

RedisConnectionStats RedisConnection::stats() const { return impl_->stats(); }

}  // namespace weft
