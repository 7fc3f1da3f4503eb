// A weftd with handlers that do what handlers must not do, and some that show the other forms.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <weft/base/clock.h>
#include <weft/runtime/generator.h>
#include <weft/runtime/sleep.h>
#include <weft/worker.h>

namespace {

using weft::Job;
using weft::RealClock;
using weft::Task;

size_t patients = 0;  // running now

// {"beside": N}: kills the whole process; before, it waits until N patients run beside it, unless
// it has done so three times already.
Task<void> poison(Job job) {
  const auto beside = job.payload_as<nlohmann::json>().at("beside").get<size_t>();
  while (job.attempt() <= 3 && patients < beside) {
    co_await weft::sleep_for(std::chrono::milliseconds(1));
  }
  raise(SIGKILL);
}

// Innocent: in its first three attempts it waits to be killed, later it succeeds at once.
Task<void> patient(Job job) {
  ++patients;
  if (job.attempt() <= 3) co_await job.sleep(std::chrono::hours(1));
  --patients;
}

void append_line(const std::string& path, const std::string& line) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  const ssize_t written = write(fd, line.data(), line.size());
  if (written != static_cast<ssize_t>(line.size())) std::perror(path.c_str());
  close(fd);
}

// {"file": F, "ms": N}: appends a line to F when it begins, and one when it has waited N ms.
// Returns which attempt it was, and where.
Task<nlohmann::json> noted(Job job) {
  const auto payload = job.payload_as<nlohmann::json>();
  const auto file = payload.at("file").get<std::string>();
  const auto note = [&](const char* what) {
    append_line(file, what + (" " + job.id()) + " " + std::to_string(job.attempt()) + " " +
                          std::to_string(getpid()) + " " +
                          std::to_string(RealClock::instance().wall_ns() / 1000) + "\n");
  };
  note("start");
  co_await job.sleep(std::chrono::milliseconds(payload.at("ms").get<int64_t>()));
  note("end");
  co_return nlohmann::json{{"attempt", job.attempt()}, {"pid", getpid()}};
}

// Writes and reads all the time: says which process it is in as chunk and as progress, and what it
// is sent as a chunk, until that is "end".
weft::Stream<std::string> stubborn(Job job) {
  const std::string pid = std::to_string(getpid());
  std::optional<std::string> sent;
  while (sent != "end") {
    job.progress(0.5, pid);
    sent = co_yield pid;
    if (sent) co_yield pid + " got " + *sent;
    co_await job.sleep(std::chrono::milliseconds(5));
  }
}

// {"ms": N}: holds the loop, as a handler does that computes where it should offload.
Task<void> hog(Job job) {
  const auto ms = job.payload_as<nlohmann::json>().at("ms").get<int64_t>();
  const int64_t end_ns = RealClock::instance().monotonic_ns() + ms * 1'000'000;
  while (RealClock::instance().monotonic_ns() < end_ns) {
  }
  co_return;
}

// {"ms": N}: holds the loop in a call that blocks, and needs no CPU.
Task<void> stuck(Job job) {
  const auto ms = job.payload_as<nlohmann::json>().at("ms").get<int64_t>();
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  co_return;
}

// A plain function and a plain generator: both run on the executor.
nlohmann::json square(const nlohmann::json& value) {
  return value.get<int64_t>() * value.get<int64_t>();
}
weft::Generator<std::string> squares(weft::PlainJob job) {
  const auto to = job.payload_as<nlohmann::json>().at("to").get<int64_t>();
  for (int64_t i = 1; i <= to; ++i) co_yield std::to_string(i * i);
}

}  // namespace

int main(int argc, char** argv) {
  return weft::Worker()
      .handle("poison", poison)
      .handle("patient", patient)
      .handle("hog", hog)
      .handle("stuck", stuck)
      .handle("noted", noted)
      .handle("square", square)
      .handle("stubborn", stubborn)
      .handle("squares", squares)
      .main(argc, argv);
}
