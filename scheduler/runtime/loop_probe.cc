// A question to the loop's thread, answered in a signal handler that runs on it.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include <weft/base/check.h>
#include <weft/runtime/loop_probe.h>

namespace weft {
namespace {

constexpr int kSignal = SIGURG;
constexpr int64_t kPatienceNs = 50'000'000;  // a thread without CPU does not answer

// Numbers of questions: an answer that comes late is not taken for that of the next one.
std::atomic<uint32_t> asked{0};
std::atomic<uint32_t> answered{0};
std::atomic<bool> in_use{false};
sem_t answer_came;
char answer[TaskContext::kNameBytes];
size_t answer_size = 0;

void on_signal(int) {
  const int error = errno;
  const uint32_t question = asked.load(std::memory_order_acquire);
  if (answered.load(std::memory_order_relaxed) != question) {
    answer_size = 0;
    const EventLoop* loop = EventLoop::current();
    const TaskContext* running = loop == nullptr ? nullptr : loop->context();
    const TaskContext* named = running == nullptr ? nullptr : named_task(*running);
    if (named != nullptr) answer_size = named->name_writer()->write(answer, sizeof(answer));
    answered.store(question, std::memory_order_release);
    sem_post(&answer_came);
  }
  errno = error;
}

}  // namespace

LoopProbe::LoopProbe(EventLoop& loop)
    : loop_(loop), thread_id_(static_cast<pid_t>(syscall(SYS_gettid))) {
  WEFT_CHECK(!in_use.exchange(true), "a process has one probe");
  WEFT_CHECK(pthread_getcpuclockid(pthread_self(), &cpu_clock_) == 0, "a thread has a CPU clock");
  sem_init(&answer_came, 0, 0);
  struct sigaction action{};
  action.sa_handler = &on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(kSignal, &action, nullptr);
}

LoopProbe::~LoopProbe() {
  signal(kSignal, SIG_IGN);
  sem_destroy(&answer_came);
  in_use.store(false);
}

int64_t LoopProbe::cpu_ns() const {
  timespec time{};
  clock_gettime(cpu_clock_, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

char LoopProbe::thread_state() const {
  char line[512];
  std::snprintf(line, sizeof(line), "/proc/self/task/%d/stat", thread_id_);
  std::FILE* file = std::fopen(line, "re");
  if (file == nullptr) return '?';
  const size_t size = std::fread(line, 1, sizeof(line) - 1, file);
  std::fclose(file);
  line[size] = '\0';
  // "id (name) S …": the name may hold anything, so its last parenthesis counts.
  const char* end = std::strrchr(line, ')');
  return end == nullptr || end[1] == '\0' ? '?' : end[2];
}

std::string LoopProbe::running_name() {
  while (sem_trywait(&answer_came) == 0) {
  }
  const uint32_t question = asked.load(std::memory_order_relaxed) + 1;
  asked.store(question, std::memory_order_release);
  if (syscall(SYS_tgkill, getpid(), thread_id_, kSignal) != 0) return "";
  timespec until{};
  clock_gettime(CLOCK_REALTIME, &until);
  const int64_t ns = until.tv_nsec + kPatienceNs;
  until.tv_sec += ns / 1'000'000'000;
  until.tv_nsec = ns % 1'000'000'000;
  while (answered.load(std::memory_order_acquire) != question) {
    if (sem_timedwait(&answer_came, &until) != 0 && errno != EINTR) break;
  }
  if (answered.load(std::memory_order_acquire) != question) return "";
  return std::string(answer, answer_size);
}

}  // namespace weft
