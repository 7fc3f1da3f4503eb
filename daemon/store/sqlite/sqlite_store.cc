// The loop's side: every verb becomes an operation; those of a turn are handed over together.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <weft/base/check.h>
#include <weft/base/clock.h>
#include <weft/base/limits.h>
#include <weft/runtime/event.h>
#include <weft/store/answer_bytes.h>
#include <weft/store/own_loop.h>
#include <weft/store/sqlite/commit_thread.h>
#include <weft/store/sqlite/file_lock.h>
#include <weft/store/sqlite/reader.h>
#include <weft/store/sqlite/schema.h>
#include <weft/store/sqlite/sqlite_store.h>

namespace weft {
namespace {

// Takes operations of one kind during a turn and hands them over at its end.
class TurnBatch final : public TurnEndHook, public OperationSink {
 public:
  explicit TurnBatch(size_t& outstanding) : outstanding_(outstanding) {}
  void set_thread(OperationThread& thread) { thread_ = &thread; }

  void start(std::unique_ptr<Operation> operation) override {
    EventLoop& loop = *EventLoop::current();
    loop.begin_external();  // virtual time stands still until the answer is here
    ++outstanding_;
    if (operations_.empty()) loop.at_turn_end(*this);
    operations_.push_back(std::move(operation));
  }
  void on_turn_end() override {
    thread_->hand_over(std::exchange(operations_, {}), *EventLoop::current());
  }

 private:
  size_t& outstanding_;
  OperationThread* thread_ = nullptr;
  OperationList operations_;
};

size_t bytes_of(const v1::JobSpec& spec) { return spec.ByteSizeLong(); }
size_t bytes_of(const Settlement& settlement) { return settlement.outcome.result().size(); }
size_t bytes_of(const Append& append) { return append.block->bytes.size(); }

constexpr size_t kListedBytes = 16 << 10;    // of one job in a list, at most: no payload, no result
constexpr size_t kScheduleBytes = 80 << 10;  // of one schedule, about
constexpr int64_t kMillisecond_ns = 1'000'000;

template <typename Item>
size_t bytes_of(const std::vector<Item>& items) {
  size_t bytes = 0;
  for (const Item& item : items) bytes += bytes_of(item);
  return bytes;
}

class SqliteStore final : public Store, private BatchReceiver {
 public:
  SqliteStore(std::unique_ptr<FileLock> lock, std::unique_ptr<Database> writing,
              std::unique_ptr<Database> reading, StoreOptions options)
      : lock_(std::move(lock)),
        writing_(std::move(writing)),
        reading_(std::move(reading)),
        queue_bytes_(options.queue_bytes),
        room_(options.queue_ops),
        room_bytes_(options.queue_bytes),
        read_bytes_(options.read_bytes),
        answer_bytes_(options.read_bytes),
        writer_(*writing_, segments_, options),
        reader_(*reading_, segments_),
        commit_thread_(*this, *writing_, writer_, options.free_disk_bytes),
        reader_thread_(*this, reader_) {
    commits_.set_thread(commit_thread_);
    reads_.set_thread(reader_thread_);
  }
  ~SqliteStore() override {
    WEFT_CHECK(outstanding_ == 0, "a store is closed before it is destroyed");
  }

  // Brings memory in line with the file and gives back what the last process ran.
  Status recover() {
    segments_.load(*writing_);
    writer_.load();
    writer_.load_finished();
    if (!writing_->ok() || !reading_->ok()) return damaged(writing_->ok() ? *reading_ : *writing_);
    writing_->exec("BEGIN IMMEDIATE");
    const int64_t now_ns = RealClock::instance().wall_ns();
    writer_.recover(now_ns);
    writer_.finish_transaction(now_ns);
    writing_->exec("COMMIT");
    if (!writing_->ok()) return damaged(*writing_);
    writer_.publish();
    writer_.take_events();
    stats_ = commit_thread_.stats();
    commit_thread_.start("weft-commit");
    reader_thread_.start("weft-read");
    return absl::OkStatus();
  }

  void set_listener(StoreListener* listener) override { listener_ = listener; }
  StoreStats stats() const override {
    StoreStats stats = stats_;
    stats.health = commit_thread_.health();
    stats.read_bytes = read_bytes_ - answer_bytes_.free();
    return stats;
  }

  Task<void> close() override {
    own_loop_.enter();
    while (outstanding_ > 0) co_await answered_.wait();
    reader_thread_.stop();
    commit_thread_.stop();
  }

  Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) override {
    const size_t items = specs.size();
    const size_t bytes = bytes_of(specs);
    auto run = [specs = std::move(specs)](OperationContext& context) mutable {
      std::vector<StatusOr<Submitted>> answers;
      answers.reserve(specs.size());
      for (v1::JobSpec& spec : specs) {
        answers.push_back(context.writer->submit(std::move(spec), context.wall_ns));
      }
      return answers;
    };
    return perform(std::move(run), items, bytes);
  }

  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    const size_t items = settlements.size() + take.max_jobs;
    const size_t bytes = bytes_of(settlements);
    const Durability durability = settlements.empty() ? Durability::kProcess : Durability::kPower;
    auto run = [settlements = std::move(settlements),
                take = std::move(take)](OperationContext& context) mutable {
      Taken taken;
      for (Settlement& settlement : settlements) {
        taken.settled.push_back(context.writer->settle(settlement, context.wall_ns));
      }
      context.writer->take(take, context.wall_ns, taken.jobs);
      return StatusOr<Taken>(std::move(taken));
    };
    return perform(std::move(run), items, bytes, durability);
  }

  Task<StatusOr<Promoted>> promote(size_t max_jobs) override {
    auto run = [max_jobs](OperationContext& context) {
      return StatusOr<Promoted>(context.writer->promote(max_jobs, context.wall_ns));
    };
    return perform(std::move(run), 1, 0);
  }

  Task<std::vector<Status>> release(std::vector<Token> tokens) override {
    const size_t items = tokens.size();
    auto run = [tokens = std::move(tokens)](OperationContext& context) {
      return context.writer->release(tokens, context.wall_ns);
    };
    return perform(std::move(run), items, 0);
  }

  Task<std::vector<Status>> save_progress(
      std::vector<std::pair<Token, v1::Progress>> progress) override {
    const size_t items = progress.size();
    auto run = [progress = std::move(progress)](OperationContext& context) mutable {
      std::vector<Status> answers;
      for (auto& [token, value] : progress) {
        answers.push_back(context.writer->save_progress(token, std::move(value)));
      }
      return answers;
    };
    return perform(std::move(run), items, 0);
  }

  Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) override {
    bool readable = false;
    while (true) {
      auto run = [job_id, reason, readable](OperationContext& context) {
        return context.writer->cancel(job_id, reason, readable, context.wall_ns);
      };
      auto cancel = perform(std::move(run), 1, 0);
      const StatusOr<std::optional<v1::CancelResponse>> response = co_await cancel;
      if (!response.ok()) co_return response.status();
      if (*response) co_return **response;
      auto read = get(job_id, true);
      const StatusOr<v1::Job> job = co_await read;
      if (!job.ok() && job.status().code() != StatusCode::kNotFound) co_return job.status();
      readable = true;
    }
  }

  Task<std::vector<Status>> append(std::vector<Append> appends) override {
    const size_t items = appends.size();
    const size_t bytes = bytes_of(appends);
    auto run = [appends = std::move(appends)](OperationContext& context) {
      std::vector<Status> answers;
      answers.reserve(appends.size());
      for (const Append& append : appends) answers.push_back(context.writer->append(append));
      return answers;
    };
    return perform(std::move(run), items, bytes, Durability::kProcess);
  }

  Task<Status> trim(std::string job_id, uint64_t first_sequence) override {
    auto run = [job_id = std::move(job_id), first_sequence](OperationContext& context) {
      return context.writer->trim(job_id, first_sequence);
    };
    return perform(std::move(run), 1, 0, Durability::kProcess);
  }

  Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                std::string value) override {
    const size_t bytes = value.size();
    auto run = [job_id = std::move(job_id), sender = std::move(sender), number,
                value = std::move(value)](OperationContext& context) {
      return context.writer->send(job_id, sender, number, value);
    };
    return perform(std::move(run), 1, bytes);
  }

  void consumed(const Token& token, uint64_t number) override {
    auto run = [token, number](OperationContext& context) {
      context.writer->consumed(token, number);
      return absl::OkStatus();
    };
    own_loop_.enter();
    auto operation = std::make_unique<FunctionOperation<decltype(run)>>(std::move(run));
    operation->durability = Durability::kProcess;
    commits_.start(std::move(operation));
  }

  Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override {
    auto run = [job_id = std::move(job_id), with_payload](OperationContext& context) {
      return context.reader->get(job_id, with_payload);
    };
    return look_up(std::move(run), get_bytes(with_payload));
  }

  Task<StatusOr<StreamPage>> read(std::string job_id, uint64_t from_sequence,
                                  size_t max_bytes) override {
    auto run = [job_id = std::move(job_id), from_sequence, max_bytes](OperationContext& context) {
      return context.reader->read(job_id, from_sequence, max_bytes);
    };
    return look_up(std::move(run), std::max(max_bytes, limits::kChunkBytes));
  }

  Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id, uint64_t after) override {
    auto run = [job_id = std::move(job_id), after](OperationContext& context) {
      return context.reader->read_sends(job_id, after);
    };
    return look_up(std::move(run), limits::kKeptSends * limits::kSendBytes);
  }

  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) override {
    auto run = [filter = std::move(filter), position = std::move(position),
                max_jobs](OperationContext& context) {
      return context.reader->list(filter, position, max_jobs);
    };
    return look_up(std::move(run), std::min(max_jobs, limits::kListScan) * kListedBytes);
  }

  Task<StatusOr<v1::Job>> retry(std::string job_id) override {
    auto run = [job_id = std::move(job_id)](OperationContext& context) {
      return context.writer->retry(job_id, context.wall_ns);
    };
    return perform(std::move(run), 1, 0);
  }

  Task<Status> remove(std::string job_id) override {
    auto run = [job_id = std::move(job_id)](OperationContext& context) {
      return context.writer->remove(job_id, context.wall_ns);
    };
    return perform(std::move(run), 1, 0);
  }

  Task<StatusOr<size_t>> sweep(size_t max_items) override {
    for (size_t done = 0;;) {
      auto run = [room = max_items - done](OperationContext& context) {
        return StatusOr<Writer::Swept>(context.writer->sweep(room, context.wall_ns));
      };
      Task<StatusOr<Writer::Swept>> part = perform(std::move(run), 1, 0);
      const StatusOr<Writer::Swept> swept = co_await part;
      if (!swept.ok()) co_return swept.status();
      done += swept->items;
      if (!swept->more || done >= max_items) co_return done;
    }
  }

  Task<StatusOr<uint64_t>> put_schedule(v1::Schedule schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) override {
    const size_t bytes = schedule.ByteSizeLong();
    auto run = [schedule = std::move(schedule), expected, wake_ms](OperationContext& context) {
      return context.writer->put_schedule(schedule, expected, wake_ms);
    };
    return perform(std::move(run), 1, bytes);
  }

  Task<Status> remove_schedule(std::string name, uint64_t expected) override {
    auto run = [name = std::move(name), expected](OperationContext& context) {
      return context.writer->remove_schedule(name, expected);
    };
    return perform(std::move(run), 1, 0);
  }

  Task<StatusOr<StoredSchedule>> get_schedule(std::string name) override {
    auto run = [name = std::move(name)](OperationContext& context) {
      return context.reader->get_schedule(name);
    };
    return look_up(std::move(run), kScheduleBytes);
  }

  Task<StatusOr<std::vector<StoredSchedule>>> list_schedules(std::string after,
                                                             size_t max) override {
    auto run = [after = std::move(after), max](OperationContext& context) {
      return context.reader->list_schedules(after, max);
    };
    return look_up(std::move(run), max * kScheduleBytes);
  }

  Task<StatusOr<DueSchedules>> due_schedules(size_t max) override {
    auto run = [max](OperationContext& context) {
      return context.reader->due_schedules(max, context.wall_ns / kMillisecond_ns);
    };
    return look_up(std::move(run), max * kScheduleBytes);
  }

 private:
  static int64_t wall_ns() { return EventLoop::current()->wall_ns(); }

  // Waits for room, then for the operation.
  template <typename Run>
  Task<typename FunctionOperation<Run>::Answer> perform(
      Run run, size_t items, size_t bytes, Durability durability = Durability::kPower) {
    own_loop_.enter();
    auto operation = std::make_unique<FunctionOperation<Run>>(std::move(run));
    operation->items = items;
    operation->bytes = bytes;
    operation->durability = durability;
    auto permit = co_await room_.acquire();
    operation->permit.emplace(std::move(permit));
    // One that is larger than all the room has it to itself.
    auto byte_permit = co_await room_bytes_.acquire(std::min(bytes, queue_bytes_));
    operation->byte_permit.emplace(std::move(byte_permit));
    OperationWait<Run> wait(commits_, std::move(operation));
    co_return co_await wait;
  }

  // The same for what only reads. `bytes` is the most that the answer can take; its room is not
  // that of the writing verbs, so that neither waits for the other.
  template <typename Run>
  Task<typename FunctionOperation<Run>::Answer> look_up(Run run, size_t bytes) {
    own_loop_.enter();
    auto operation = std::make_unique<FunctionOperation<Run>>(std::move(run));
    operation->bytes = std::min(bytes, read_bytes_);
    auto permit = co_await answer_bytes_.acquire(operation->bytes);
    operation->byte_permit.emplace(std::move(permit));
    OperationWait<Run> wait(reads_, std::move(operation));
    co_return co_await wait;
  }

  void on_batch(BatchResult result) override {
    if (result.has_stats) stats_ = result.stats;
    if (!result.error.ok()) log_error(result.error);
    // The listener first: who waits for an answer goes on later in any case.
    for (const StoreEvent& event : result.events) tell(event);
    for (std::unique_ptr<Operation>& operation : result.operations) {
      EventLoop::current()->end_external();
      --outstanding_;
      operation->permit.reset();
      operation->byte_permit.reset();
      if (Operation::Wait* wait = operation->wait) wait->deliver(std::move(operation));
    }
    answered_.notify_all();
  }

  // What it is asked for meanwhile would fill the log with one sentence.
  void log_error(const Status& error) {
    const int64_t now_ns = EventLoop::current()->now_ns();
    if (now_ns < quiet_until_ns_) return;
    quiet_until_ns_ = now_ns + limits::kStoreErrorLogMs * 1'000'000;
    spdlog::error("{}", from_absl(error.message()));
  }

  void tell(const StoreEvent& event) {
    if (listener_ == nullptr) return;
    switch (event.kind) {
      case StoreEvent::Kind::kWork:
        return listener_->on_work();
      case StoreEvent::Kind::kScheduled:
        return listener_->on_scheduled(time_until(static_cast<int64_t>(event.number), wall_ns()));
      case StoreEvent::Kind::kCancelRequested:
        return listener_->on_cancel_requested(event.job_id, event.text);
      case StoreEvent::Kind::kFinished:
        return listener_->on_finished(event.job);
      case StoreEvent::Kind::kSend:
        return listener_->on_send(event.job_id, event.number, event.text);
    }
  }

  // In the order in which they are needed: what stands below ends first.
  std::unique_ptr<FileLock> lock_;
  std::unique_ptr<Database> writing_;
  std::unique_ptr<Database> reading_;
  OwnLoop own_loop_;
  const size_t queue_bytes_;
  Semaphore room_;
  Semaphore room_bytes_;
  const size_t read_bytes_;
  Semaphore answer_bytes_;
  int64_t quiet_until_ns_ = INT64_MIN;  // of the log
  SegmentLog segments_;
  Writer writer_;
  Reader reader_;
  StoreListener* listener_ = nullptr;
  StoreStats stats_;
  size_t outstanding_ = 0;
  Event answered_;
  TurnBatch commits_{outstanding_};
  TurnBatch reads_{outstanding_};
  CommitThread commit_thread_;
  ReaderThread reader_thread_;
};

constexpr int kLinks = 40;  // as the kernel follows

// One file has one name, or two daemons that spell it differently would lock two files. Makes the
// folder if it is missing; the file itself may be.
StatusOr<std::string> real_path(const std::string& given) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path path = fs::absolute(given, error);
  for (int i = 0; i < kLinks && !error; ++i) {
    std::error_code missing;
    if (!fs::is_symlink(fs::symlink_status(path, missing))) break;
    path = path.parent_path() / fs::read_symlink(path, error);
  }
  const fs::path folder = path.parent_path();
  if (!error) fs::create_directories(folder, error);
  const fs::path real = error ? folder : fs::canonical(folder, error);
  if (!error) return (real / path.filename()).string();
  return make_status(StatusCode::kPermissionDenied,
                     "the folder " + folder.string() + " cannot be made (" + error.message() +
                         "): make it writable for this user, or choose another path");
}

}  // namespace

StatusOr<std::unique_ptr<Store>> open_sqlite_store(const std::string& given_path,
                                                   StoreOptions options) {
  const StatusOr<std::string> found = real_path(given_path);
  if (!found.ok()) return found.status();
  const std::string& path = *found;
  StatusOr<std::unique_ptr<FileLock>> lock = FileLock::acquire(path);
  if (!lock.ok()) return lock.status();
  StatusOr<std::unique_ptr<Database>> writing = open_for_writing(path);
  if (!writing.ok()) return writing.status();
  StatusOr<std::unique_ptr<Database>> reading = open_for_reading(path);
  if (!reading.ok()) return reading.status();
  auto store = std::make_unique<SqliteStore>(*std::move(lock), *std::move(writing),
                                             *std::move(reading), options);
  WEFT_RETURN_IF_ERROR(store->recover());
  return store;
}

}  // namespace weft
