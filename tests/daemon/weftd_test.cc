// The real weftd: how it starts, refuses to start, and stops.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weft/v1/job_service.grpc.pb.h>
#include <weft/v1/worker_service.grpc.pb.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<v1::JobService::Stub> stub_of(const Daemon& daemon) {
  return v1::JobService::NewStub(
      grpc::CreateChannel(daemon.address(), grpc::InsecureChannelCredentials()));
}

std::string submit(v1::JobService::Stub& stub, const std::string& type,
                   const std::string& payload) {
  grpc::ClientContext context;
  v1::SubmitRequest request;
  request.mutable_spec()->set_type(type);
  request.mutable_spec()->set_payload(payload);
  v1::SubmitResponse response;
  const grpc::Status status = stub.Submit(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.id();
}

// Returns when a job runs that sleeps for ever.
void run_sleep(v1::JobService::Stub& stub) {
  v1::GetRequest get;
  get.set_id(submit(stub, "sleep", R"({"ms":600000})"));
  for (v1::Job job; job.state() != v1::JOB_STATE_RUNNING;) {
    grpc::ClientContext again;
    ASSERT_TRUE(stub.Get(&again, get, &job).ok());
  }
}

// Refused: no ready line, one sentence on stderr, no stack dump.
void expect_refusal(const DaemonOptions& options, int exit_code, const std::string& words) {
  const Ended ended = run_process(daemon_command(options));
  EXPECT_EQ(ended.exit_code, exit_code);
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, HasSubstr(words));
  int lines = 0;
  for (size_t at = ended.err.find("weftd: "); at != std::string::npos;
       at = ended.err.find("weftd: ", at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 1) << ended.err;
}

TEST(Weftd, PrintsOneReadyLineAndEndsOnSigterm) {
  for (const int number : {SIGTERM, SIGINT}) {
    Daemon daemon;
    EXPECT_THAT(daemon.ready_line(),
                ::testing::MatchesRegex("weftd ready grpc=127.0.0.1:[0-9]+ admin=127.0.0.1:[0-9]+ "
                                        "store=memory: worker=[^ ]+"));
    daemon.process().signal(number);
    const Ended ended = daemon.process().wait();
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_EQ(ended.out, "") << "nothing after the ready line";
  }
}

TEST(Weftd, RefusesAPortInUse) {
  Daemon first;
  expect_refusal({.store = "memory:", .listen = first.address(), .arguments = {}}, 1, "in use");
  expect_refusal({.store = "memory:", .admin = first.admin_address(), .arguments = {}}, 1,
                 first.admin_address() + " is in use");
}

TEST(Weftd, RefusesASecondDaemonOnTheFile) {
  TempDir folder;
  DaemonOptions options;
  options.store = "sqlite:" + folder.file("weft.db");
  Daemon first(options);
  expect_refusal(options, 1, "weft.db");
}

TEST(Weftd, RefusesAFolderItMayNotWrite) {
  TempDir folder;
  if (geteuid() == 0) {
    // Root writes everywhere: a file in the folder's place is as unwritable.
    write_file(folder.file("not-a-folder"), "");
    expect_refusal({.store = "sqlite:" + folder.file("not-a-folder/weft.db"), .arguments = {}}, 1,
                   "not-a-folder");
    return;
  }
  chmod(folder.path().c_str(), 0500);
  expect_refusal({.store = "sqlite:" + folder.file("weft.db"), .arguments = {}}, 1, "weft.db");
  chmod(folder.path().c_str(), 0700);
}

TEST(Weftd, RefusesACorruptFile) {
  TempDir folder;
  write_file(folder.file("weft.db"), std::string(10'000, 'x'));
  expect_refusal({.store = "sqlite:" + folder.file("weft.db"), .arguments = {}}, 1, "weft.db");
}

TEST(Weftd, ConfigurationErrorsExitWithTwo) {
  const Ended ended = run_process({weftd_path(), "--stoer", "memory:", "--concurrency", "none"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("did you mean --store?"));
  EXPECT_THAT(ended.err, HasSubstr("--concurrency: 'none'"));
}

TEST(Weftd, WatcherOfAJobThatEndsInTheGraceGetsItsEnd) {
  Daemon daemon;
  auto stub = stub_of(daemon);
  const std::string id = submit(*stub, "count", R"({"to":20,"delay_ms":20})");
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_id(id);
  auto reader = stub->Watch(&context, request);
  v1::Event event;
  ASSERT_TRUE(reader->Read(&event));
  daemon.process().signal(SIGTERM);
  bool finished = event.has_finished();
  while (reader->Read(&event)) finished = event.has_finished();
  EXPECT_TRUE(finished);
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(daemon.process().wait().exit_code, 0);
}

TEST(Weftd, WatcherOfAJobThatGoesOnIsToldToReconnect) {
  Daemon daemon({.arguments = {"--grace", "0"}});
  auto stub = stub_of(daemon);
  const std::string id = submit(*stub, "count", R"({"to":1000000,"delay_ms":20})");
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_id(id);
  auto reader = stub->Watch(&context, request);
  v1::Event event;
  ASSERT_TRUE(reader->Read(&event));
  daemon.process().signal(SIGTERM);
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(daemon.process().wait().exit_code, 0);
}

TEST(Weftd, JobHandedBackAtShutdownEndsAfterTheNextStart) {
  TempDir folder;
  DaemonOptions options;
  options.store = "sqlite:" + folder.file("weft.db");
  options.arguments = {"--grace", "0"};
  std::string id;
  {
    Daemon daemon(options);
    id = submit(*stub_of(daemon), "sleep", R"({"ms":2000})");
    daemon.process().signal(SIGTERM);
    EXPECT_EQ(daemon.process().wait().exit_code, 0);
  }
  Daemon daemon(options);
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_id(id);
  auto stub = stub_of(daemon);
  auto reader = stub->Watch(&context, request);
  v1::Event event;
  while (reader->Read(&event)) {
  }
  ASSERT_TRUE(event.has_finished());
  EXPECT_EQ(event.finished().state(), v1::JOB_STATE_SUCCEEDED);
}

TEST(Weftd, SecondSignalEndsAtOnce) {
  Daemon daemon({.arguments = {"--grace", "600"}});
  auto stub = stub_of(daemon);
  run_sleep(*stub);
  daemon.process().signal(SIGTERM);
  // It drains: a submission is refused. Only then is the next signal the second one.
  grpc::Status status;
  while (status.ok()) {
    grpc::ClientContext again;
    v1::SubmitRequest request;
    request.mutable_spec()->set_type("echo");
    v1::SubmitResponse response;
    status = stub->Submit(&again, request, &response);
  }
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
  daemon.process().signal(SIGINT);
  EXPECT_EQ(daemon.process().wait().exit_code, 130);
}

// A weftd in a shell's redirections.
Process start_redirected(const std::string& redirections) {
  std::vector<std::string> command = {"/bin/sh", "-c", "exec \"$0\" \"$@\" " + redirections};
  for (const std::string& argument : daemon_command({.arguments = {"--grace", "600"}})) {
    command.push_back(argument);
  }
  return Process(std::move(command));
}

std::string address_in(const std::string& ready_line) {
  const size_t begin = ready_line.find("grpc=") + 5;
  return ready_line.substr(begin, ready_line.find(' ', begin) - begin);
}

// A pipe that takes nothing more, for others to open by its name.
class FullPipe {
 public:
  explicit FullPipe(std::string name) : name_(std::move(name)) {
    EXPECT_EQ(mkfifo(name_.c_str(), 0600), 0);
    fd_ = open(name_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    const std::string block(4096, 'x');
    while (::write(fd_, block.data(), block.size()) > 0) {
    }
  }
  ~FullPipe() { close(fd_); }

 private:
  std::string name_;
  int fd_;
};

TEST(Weftd, EndsAlthoughNobodyReadsItsStandardError) {
  TempDir folder;
  const FullPipe pipe(folder.file("stderr"));
  for (const bool twice : {false, true}) {
    Process process = start_redirected("2>" + folder.file("stderr"));
    const std::string ready = process.read_line().value_or("");
    ASSERT_THAT(ready, HasSubstr("weftd ready"));
    auto stub = v1::JobService::NewStub(
        grpc::CreateChannel(address_in(ready), grpc::InsecureChannelCredentials()));
    if (twice) run_sleep(*stub);
    process.signal(SIGTERM);
    for (grpc::Status status; twice && status.ok();) {
      grpc::ClientContext context;
      v1::SubmitRequest request;
      request.mutable_spec()->set_type("echo");
      v1::SubmitResponse response;
      status = stub->Submit(&context, request, &response);
    }
    if (twice) process.signal(SIGINT);
    EXPECT_EQ(process.wait().exit_code, twice ? 130 : 0);
  }
}

TEST(Weftd, ClosedStandardDescriptorsBecomeNobodyElses) {
  Process process = start_redirected("<&- 2>&-");
  ASSERT_THAT(process.read_line().value_or(""), HasSubstr("weftd ready"));
  for (const char* fd : {"0", "2"}) {
    const std::string link = "/proc/" + std::to_string(process.pid()) + "/fd/" + fd;
    EXPECT_EQ(std::filesystem::read_symlink(link), "/dev/null");
  }
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait().exit_code, 0);
}

TEST(Weftd, SurvivesAReaderOfItsOutputThatLeaves) {
  Daemon daemon;
  daemon.process().close_stdout();
  auto stub = stub_of(daemon);
  EXPECT_FALSE(submit(*stub, "echo", "x").empty());
  daemon.process().signal(SIGTERM);
  EXPECT_EQ(daemon.process().wait().exit_code, 0);
}

TEST(Weftd, FrontendAcceptsJobsAndRunsNoneUntilAWorkerHasItsFile) {
  TempDir folder;
  DaemonOptions options;
  options.store = "sqlite:" + folder.file("weft.db");
  DaemonOptions front = options;
  front.arguments = {"--role", "frontend"};
  std::string id;
  {
    Daemon daemon(front);
    auto stub = stub_of(daemon);
    id = submit(*stub, "echo", "hello");
    const std::string of_another_worker = submit(*stub, "only-elsewhere", "");
    grpc::ClientContext worker_context;
    v1::ListWorkersResponse listed;
    auto workers = v1::WorkerService::NewStub(
        grpc::CreateChannel(daemon.address(), grpc::InsecureChannelCredentials()));
    ASSERT_TRUE(workers->List(&worker_context, {}, &listed).ok());
    ASSERT_EQ(listed.workers_size(), 1);
    EXPECT_EQ(listed.workers(0).slots(), 0u);
    EXPECT_EQ(listed.workers(0).jobs_queued(), 2u);
    EXPECT_GT(listed.workers(0).resident_memory_bytes(), 1'000'000u);
    EXPECT_EQ(listed.workers(0).incarnation().size(), 32u);

    grpc::ClientContext watch_context;
    v1::WatchRequest watch;
    watch.set_id(of_another_worker);
    auto watched = stub->Watch(&watch_context, watch);
    grpc::ClientContext cancel_context;
    v1::CancelRequest cancel;
    cancel.set_id(of_another_worker);
    v1::CancelResponse cancelled;
    ASSERT_TRUE(stub->Cancel(&cancel_context, cancel, &cancelled).ok());
    EXPECT_EQ(cancelled.result(), v1::CancelResponse::CANCELLED);
    v1::Event event;
    ASSERT_TRUE(watched->Read(&event)) << "readers are told without a worker";
    EXPECT_TRUE(event.has_finished());

    grpc::ClientContext waiting_context;
    watch.set_id(id);
    auto waiting = stub->Watch(&waiting_context, watch);
    daemon.process().signal(SIGTERM);
    EXPECT_FALSE(waiting->Read(&event));
    EXPECT_EQ(waiting->Finish().error_code(), grpc::UNAVAILABLE);
    const Ended ended = daemon.process().wait();
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
  }
  Daemon daemon(options);
  auto stub = stub_of(daemon);
  grpc::ClientContext context;
  v1::WatchRequest watch;
  watch.set_id(id);
  auto reader = stub->Watch(&context, watch);
  v1::Event event;
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(event.finished().state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(event.finished().outcome().result(), "hello");
}

}  // namespace
}  // namespace weft::testing
