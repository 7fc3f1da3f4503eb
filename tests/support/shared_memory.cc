// Whose verb changed something hears of it at once; the others hear of it as news.
#include "tests/support/shared_memory.h"

#include <algorithm>

#include <weft/base/limits.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/sleep.h>
#include <weft/store/memory/memory_store.h>

#include "tests/support/store_wrapper.h"

namespace weft::testing {

class SharedMemory::View final : public StoreWrapper {
 public:
  View(SharedMemory& shared, Name self)
      : StoreWrapper(nullptr), shared_(shared), store_(*shared.store_), self_(self) {}
  ~View() override { shared_.processes_.erase(self_); }

  void set_listener(StoreListener* listener) override { process().listener = listener; }
  bool shared() const override { return true; }
  StoreStats stats() const override { return store_.stats(); }
  Task<void> close() override { co_await yield_now(); }

  Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) override {
    return store_.submit(std::move(specs));
  }
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    for (const Settlement& one : settlements) act(one.token.job_id);
    Task<StatusOr<Taken>> call = store_.settle_and_take(std::move(settlements), std::move(take));
    StatusOr<Taken> taken = co_await call;
    if (!taken.ok()) co_return taken;
    for (const v1::Job& job : taken->jobs) {
      const std::string& id = job.spec().id();
      shared_.workers_[id] = self_;
      for (RemoteReaders& one : shared_.watching(id, self_)) {
        taken->readers.push_back(std::move(one));
      }
    }
    for (const v1::Job& job : taken->jobs) {
      const uint64_t started = job.attempt_sequence();
      if (started == 0 || started != job.last_sequence()) continue;
      Task<StatusOr<StreamPage>> read = store_.read(job.spec().id(), started, 1);
      const StatusOr<StreamPage> page = co_await read;
      shared_.post_block(job.spec().id(), self_, page->blocks.at(0));
    }
    co_return taken;
  }
  Task<std::vector<Status>> release(std::vector<Token> tokens) override {
    for (const Token& token : tokens) {
      act(token.job_id);
      shared_.workers_.erase(token.job_id);
    }
    return store_.release(std::move(tokens));
  }
  Task<std::vector<Status>> save_progress(
      std::vector<std::pair<Token, v1::Progress>> progress) override {
    Task<std::vector<Status>> call = store_.save_progress(progress);
    std::vector<Status> answers = co_await call;
    for (size_t i = 0; i < answers.size(); ++i) {
      if (!answers[i].ok()) continue;
      shared_.post_to_followers(progress[i].first.job_id, self_, Order::kKept,
                                [id = progress[i].first.job_id, value = progress[i].second](
                                    StoreListener& listener) { listener.on_progress(id, value); });
    }
    co_return answers;
  }
  Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) override {
    act(job_id);
    return store_.cancel(std::move(job_id), std::move(reason));
  }
  Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override {
    Task<StatusOr<v1::Job>> call = store_.get(std::move(job_id), with_payload);
    StatusOr<v1::Job> job = co_await call;
    co_await sleep_for(shared_.some_time());  // the answer is under way
    co_return job;
  }
  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) override {
    return store_.list(std::move(filter), std::move(position), max_jobs);
  }
  Task<StatusOr<v1::Job>> retry(std::string job_id) override {
    Task<StatusOr<v1::Job>> call = store_.retry(job_id);
    StatusOr<v1::Job> job = co_await call;
    if (job.ok()) {
      shared_.post_to_followers(job_id, self_, Order::kAny, [copy = *job](StoreListener& listener) {
        listener.on_retried(copy);
      });
    }
    co_return job;
  }
  Task<Status> remove(std::string job_id) override {
    Task<Status> call = store_.remove(job_id);
    const Status status = co_await call;
    if (status.ok()) {
      shared_.post_to_followers(job_id, self_, Order::kKept,
                                [job_id](StoreListener& listener) { listener.on_removed(job_id); });
    }
    co_return status;
  }
  Task<StatusOr<size_t>> sweep(size_t max_items) override { return store_.sweep(max_items); }
  Task<std::vector<Status>> append(std::vector<Append> appends) override {
    Task<std::vector<Status>> call = store_.append(appends);
    std::vector<Status> answers = co_await call;
    for (size_t i = 0; i < answers.size(); ++i) {
      if (answers[i].ok()) shared_.post_block(appends[i].token.job_id, self_, appends[i].block);
    }
    co_return answers;
  }
  Task<StatusOr<StreamPage>> read(std::string job_id, uint64_t from_sequence,
                                  size_t max_bytes) override {
    return store_.read(std::move(job_id), from_sequence, max_bytes);
  }
  Task<Status> trim(std::string job_id, uint64_t first_sequence) override {
    return store_.trim(std::move(job_id), first_sequence);
  }
  Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                std::string value) override {
    act(job_id);
    return store_.send(std::move(job_id), std::move(sender), number, std::move(value));
  }
  Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id, uint64_t after) override {
    return store_.read_sends(std::move(job_id), after);
  }
  void consumed(const Token& token, uint64_t number) override { store_.consumed(token, number); }
  Task<StatusOr<uint64_t>> put_schedule(v1::Schedule schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) override {
    return store_.put_schedule(std::move(schedule), expected, wake_ms);
  }
  Task<StatusOr<StoredSchedule>> get_schedule(std::string name) override {
    return store_.get_schedule(std::move(name));
  }
  Task<Status> remove_schedule(std::string name, uint64_t expected) override {
    return store_.remove_schedule(std::move(name), expected);
  }
  Task<StatusOr<std::vector<StoredSchedule>>> list_schedules(std::string after,
                                                             size_t max) override {
    return store_.list_schedules(std::move(after), max);
  }
  Task<StatusOr<DueSchedules>> due_schedules(size_t max) override {
    return store_.due_schedules(max);
  }

  void follow(const std::string& job_id, StreamReaders readers) override {
    ++shared_.follows_;
    if (readers.passive + readers.attached == 0) {
      process().follows.erase(job_id);
    } else {
      process().follows[job_id] = readers;
    }
    const auto worker = shared_.workers_.find(job_id);
    if (worker == shared_.workers_.end() || worker->second == self_) return;
    shared_.post(worker->second, Order::kKept,
                 [news = RemoteReaders(job_id, {self_.first, self_.second}, readers)](
                     StoreListener& listener) { listener.on_readers(news); });
  }
  void detach_readers(const std::string& job_id, Incarnation from,
                      uint64_t first_sequence) override {
    shared_.post(name_of(from), Order::kKept, [=](StoreListener& listener) {
      listener.on_readers_detached(job_id, first_sequence);
    });
  }
  Task<StatusOr<std::vector<RemoteReaders>>> remote_readers(
      std::vector<std::string> job_ids) override {
    co_await yield_now();
    std::vector<RemoteReaders> all;
    for (const std::string& id : job_ids) {
      for (RemoteReaders& one : shared_.watching(id, self_)) all.push_back(std::move(one));
    }
    co_return StatusOr<std::vector<RemoteReaders>>(std::move(all));
  }

 private:
  Process& process() { return shared_.processes_[self_]; }
  void act(const std::string& job_id) { shared_.actors_[job_id] = self_; }

  SharedMemory& shared_;
  Store& store_;
  const Name self_;
};

SharedMemory::SharedMemory(NewsOptions options, StoreOptions store_options)
    : options_(options), random_(options.seed), store_(make_memory_store(store_options)) {
  store_->set_listener(this);
}

std::unique_ptr<Store> SharedMemory::open(Incarnation self) {
  processes_[name_of(self)];
  return std::make_unique<View>(*this, name_of(self));
}

Task<void> SharedMemory::carry() {
  for (;;) {
    if (news_.empty()) {
      posted_.reset();
      co_await posted_.wait();
      continue;
    }
    const int64_t wait_ns = news_.begin()->first - EventLoop::current()->exact_now_ns();
    if (wait_ns > 0) {
      co_await sleep_for(std::chrono::nanoseconds(wait_ns));
      continue;
    }
    const auto [to, tell] = std::move(news_.begin()->second);
    news_.erase(news_.begin());
    const auto process = processes_.find(to);
    if (process != processes_.end() && !process->second.cut) tell(*process->second.listener);
  }
}

void SharedMemory::cut(Incarnation self) { processes_.at(name_of(self)).cut = true; }

void SharedMemory::mend(Incarnation self) {
  processes_.at(name_of(self)).cut = false;
  std::erase_if(news_, [&](const auto& one) { return one.second.first == name_of(self); });
  post(name_of(self), Order::kKept, [](StoreListener& listener) { listener.on_resync(); });
}

StreamReaders SharedMemory::told(Incarnation self, const std::string& job_id) const {
  const auto& follows = processes_.at(name_of(self)).follows;
  const auto found = follows.find(job_id);
  return found == follows.end() ? StreamReaders() : found->second;
}

std::chrono::nanoseconds SharedMemory::some_time() {
  return std::chrono::microseconds(random_.below(static_cast<uint64_t>(options_.delay_us + 1)));
}

void SharedMemory::post(Name to, Order order, Tell tell) {
  const auto process = processes_.find(to);
  if (process == processes_.end() || process->second.cut) return;
  int64_t due_ns = EventLoop::current()->exact_now_ns() + some_time().count();
  if (order == Order::kKept || !options_.disorder) {
    due_ns = std::max(due_ns, process->second.last_due_ns);
    process->second.last_due_ns = due_ns;
  } else if (random_.below(4) == 0) {
    news_.emplace(due_ns + 1000 * options_.delay_us, std::make_pair(to, tell));
  }
  news_.emplace(due_ns, std::make_pair(to, std::move(tell)));
  posted_.set();
}

void SharedMemory::post_to_followers(const std::string& job_id, Name but, Order order,
                                     const Tell& tell) {
  for (const auto& [name, process] : processes_) {
    if (name != but && process.follows.contains(job_id)) post(name, order, tell);
  }
}

void SharedMemory::post_block(const std::string& job_id, Name but, const ChunkBlockPtr& block) {
  post_to_followers(
      job_id, but, Order::kAny,
      [job_id, block, large = block->bytes.size() > options_.push_bytes](StoreListener& listener) {
        if (large) return listener.on_stored(job_id, block->last_sequence());
        listener.on_entries(job_id, block);
      });
}

std::vector<RemoteReaders> SharedMemory::watching(const std::string& job_id, Name but) const {
  std::vector<RemoteReaders> all;
  for (const auto& [name, process] : processes_) {
    const auto found = process.follows.find(job_id);
    if (name == but || found == process.follows.end()) continue;
    all.emplace_back(job_id, Incarnation{name.first, name.second}, found->second);
  }
  return all;
}

void SharedMemory::on_work() {
  for (const auto& [name, process] : processes_) {
    post(name, Order::kKept, [](StoreListener& listener) { listener.on_work(); });
  }
}

void SharedMemory::on_cancel_requested(const std::string& job_id, const std::string& reason) {
  const Name worker = workers_.at(job_id);
  if (worker == actors_[job_id]) {
    return processes_.at(worker).listener->on_cancel_requested(job_id, reason);
  }
  post(worker, Order::kKept,
       [=](StoreListener& listener) { listener.on_cancel_requested(job_id, reason); });
}

void SharedMemory::on_finished(const v1::Job& job) {
  const std::string& id = job.spec().id();
  const Name actor = actors_[id];
  workers_.erase(id);
  const auto own = processes_.find(actor);
  if (own != processes_.end()) own->second.listener->on_finished(job);
  post_to_followers(id, actor, Order::kAny,
                    [job](StoreListener& listener) { listener.on_finished(job); });
}

void SharedMemory::on_send(const std::string& job_id, uint64_t number, const std::string& value) {
  const auto worker = workers_.find(job_id);
  if (worker == workers_.end()) return;
  if (worker->second == actors_[job_id]) {
    return processes_.at(worker->second).listener->on_send(job_id, number, value);
  }
  post(worker->second, Order::kKept,
       [=](StoreListener& listener) { listener.on_send(job_id, number, value); });
}

}  // namespace weft::testing
