// A thousand http jobs at once against a server that answers in an order of its own: one thread
// waits for all of them, and they go on as the answers arrive. Beside it the same requests by a
// thread each.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include <weft/client/client.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/sleep.h>

#include "tests/support/daemon.h"
#include "tests/support/http_server.h"

namespace weft::testing {
namespace {

constexpr size_t kJobs = 1000;
constexpr int kRoundsMax = 12;
constexpr double kRatio = 1.2;     // threads switch at least so many times more often
constexpr size_t kOwnThreads = 4;  // that gRPC may start late, whatever the jobs do
constexpr size_t kBurst = 100;     // answers that are sent without looking whether they are read

// Answers request /N of all, once all are there, in a shuffled order: a burst, and the next one
// when the clients have closed the connections of the last. Thread: has its own.
class ShuffledServer {
 public:
  ShuffledServer() : order_(kJobs) {
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::shuffle(order_.begin(), order_.end(), std::mt19937(1));
    thread_ = std::thread([this] { run(); });
    while (port_ == 0) std::this_thread::yield();
  }
  ~ShuffledServer() { thread_.join(); }

  uint16_t port() const { return port_; }
  std::string url(size_t i) const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/" + std::to_string(i);
  }
  // In which requests are answered.
  const std::vector<size_t>& order() const { return order_; }
  size_t waiting() const { return waiting_; }
  void answer_all() { go_ = true; }

 private:
  void run() {
    EventLoop loop;
    HttpServer server;
    port_ = server.port();
    std::vector<HttpExchange*> held(kJobs);
    Event left;
    size_t closed = 0;
    auto answer = [&](HttpExchange& exchange) -> Task<void> {
      held[std::stoul(exchange.path.substr(1))] = &exchange;
      ++waiting_;
      co_await exchange.wait_for_close();
      ++closed;
      left.notify_all();
    };
    auto main = [&]() -> Task<void> {
      auto both = [&](TaskGroup& group) -> Task<void> {
        group.start([&] { return server.run(answer); });
        while (!go_) co_await sleep_for(std::chrono::milliseconds(1));
        for (size_t i = 0; i < kJobs; ++i) {
          HttpExchange& exchange = *held[order_[i]];
          co_await exchange.reply(200, "answer " + exchange.path, "Connection: close\r\n");
          while ((i + 1) % kBurst == 0 && closed <= i) co_await left.wait();
        }
        group.cancel(CancelReason::kShutdown);
      };
      co_await with_group(both);
    };
    loop.run(main());
  }

  std::vector<size_t> order_;
  std::atomic<uint16_t> port_{0};
  std::atomic<size_t> waiting_{0};
  std::atomic<bool> go_{false};
  std::thread thread_;
};

// Of a thread of another process, or all threads it has now.
uint64_t switches(const std::filesystem::path& status) {
  uint64_t sum = 0;
  std::ifstream file(status);
  for (std::string line; std::getline(file, line);) {
    if (line.find("ctxt_switches:") != std::string::npos) {
      sum += std::stoull(line.substr(line.find(':') + 1));
    }
  }
  return sum;
}

std::vector<std::string> threads_of(pid_t pid) {
  std::vector<std::string> threads;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    threads.push_back(entry.path().string());
  }
  return threads;
}

uint64_t switches_of_all(pid_t pid) {
  uint64_t sum = 0;
  for (const std::string& thread : threads_of(pid)) sum += switches(thread + "/status");
  return sum;
}

uint64_t switches_of_loop(pid_t pid) {
  const std::string id = std::to_string(pid);
  return switches("/proc/" + id + "/task/" + id + "/status");
}

// Keeps a thread that wakes from pushing the server aside on its processor, which would turn a
// burst of answers into single ones. Both sides run so.
void give_way(pid_t thread) {
  const sched_param none{};
  EXPECT_EQ(sched_setscheduler(thread, SCHED_BATCH, &none), 0);
}

uint64_t switches_of_this_thread() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<uint64_t>(usage.ru_nvcsw + usage.ru_nivcsw);
}

// One request as a thread makes it; the switches it cost from the request to the answer.
uint64_t blocking_request(uint16_t port, size_t number) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  EXPECT_TRUE(connected);
  const std::string request = "GET /" + std::to_string(number) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  give_way(0);
  const uint64_t begin = switches_of_this_thread();
  std::string answer;
  const std::string expected = "answer /" + std::to_string(number);
  while (connected && !answer.ends_with(expected)) {
    char buffer[4096];
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count <= 0) break;
    answer.append(buffer, static_cast<size_t>(count));
  }
  EXPECT_TRUE(answer.ends_with(expected)) << answer;
  close(fd);
  return switches_of_this_thread() - begin;
}

void wait_for_all(const ShuffledServer& server) {
  const auto deadline = std::chrono::steady_clock::now() + Process::kPatience;
  while (server.waiting() < kJobs && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_EQ(server.waiting(), kJobs);
}

// The store stamps each job as it settles it.
int64_t end_ns(const v1::Job& job) {
  return job.finish_time().seconds() * 1'000'000'000 + job.finish_time().nanos();
}

// Switches per job, the same requests made by a thread each.
double thread_per_job() {
  ShuffledServer server;
  std::atomic<uint64_t> sum{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kJobs; ++i) {
    threads.emplace_back([&, i] { sum += blocking_request(server.port(), i); });
  }
  wait_for_all(server);
  server.answer_all();
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(sum) / kJobs;
}

class Switches {
 public:
  double loop = 1e9;  // switches per job of the loop's thread, from request to answer
  double daemon = 0;  // and of all threads of weftd
};

// A job for each request.
std::vector<std::string> submit_all(Client& client, const ShuffledServer& server) {
  std::vector<std::string> ids;
  for (size_t i = 0; i < kJobs; ++i) {
    v1::JobSpec spec;
    spec.set_type("http");
    spec.set_payload("{\"url\":\"" + server.url(i) + "\"}");
    const auto answer = client.submit(std::move(spec));
    if (!answer.ok()) ADD_FAILURE() << answer.status();
    ids.push_back(answer.ok() ? answer->id() : "");
  }
  return ids;
}

void wait_for_end(Client& client, const std::string& id) {
  ResultStream stream = client.watch({.job_id = id});
  for (;;) {
    const auto event = stream.next();
    ASSERT_TRUE(event.ok()) << event.status();
    if (!event->has_value()) return;
  }
}

void coroutine_per_job(Switches* run) {
  ShuffledServer server;
  DaemonOptions options;
  options.arguments = {"--allow-host", "127.0.0.1:" + std::to_string(server.port())};
  Daemon daemon(options);
  const pid_t pid = daemon.process().pid();
  give_way(pid);  // the loop's thread
  Client client({.server = daemon.address()});
  ASSERT_FALSE(client.get("none").ok());
  const size_t threads = threads_of(pid).size();

  const std::vector<std::string> ids = submit_all(client, server);
  wait_for_all(server);  // every job waits for its answer now
  EXPECT_LE(threads_of(pid).size(), threads + kOwnThreads) << "jobs that wait have threads";
  const uint64_t all = switches_of_all(pid);
  const uint64_t loop = switches_of_loop(pid);
  server.answer_all();
  wait_for_end(client, ids[server.order().back()]);
  run->daemon = static_cast<double>(switches_of_all(pid) - all) / kJobs;
  run->loop = static_cast<double>(switches_of_loop(pid) - loop) / kJobs;
  EXPECT_LE(threads_of(pid).size(), threads + kOwnThreads);

  int64_t last_ns = 0;
  for (const size_t number : server.order()) {
    const auto job = client.get(ids[number]);
    ASSERT_TRUE(job.ok()) << job.status();
    ASSERT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->outcome().error_message();
    EXPECT_GE(end_ns(*job), last_ns) << "job " << number << " has overtaken the one before it";
    last_ns = end_ns(*job);
  }
}

TEST(HttpJobs, AThousandWaitOnOneThreadAndGoOnInTheOrderOfTheAnswers) {
  Switches run;
  double threads = 1e9;
  for (int i = 0; i < kRoundsMax && !HasFatalFailure() && (i == 0 || run.loop * kRatio > threads);
       ++i) {
    Switches round;
    coroutine_per_job(&round);
    if (round.loop < run.loop) run = round;
    threads = std::min(threads, thread_per_job());
  }
  std::printf(
      "figure: %zu http jobs at once: %.3f context switches per job on the loop's thread, %.3f in "
      "all of weftd; a thread per job: %.3f; ratio %.1f\n",
      kJobs, run.loop, run.daemon, threads, threads / run.loop);
  // Other work on the machine only ever adds switches, so the best of each is compared.
  EXPECT_LE(run.loop * kRatio, threads);
}

}  // namespace
}  // namespace weft::testing
