// Bad input: one clear error each, and the daemon stays up or does not start.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <weft/v1/job_service.grpc.pb.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

// One sentence: a line that begins with "weft: ".
void expect_one_sentence(const Ended& ended, const std::string& code) {
  EXPECT_THAT(ended.err, MatchesRegex("weft: " + code + ": [^\n]+\n"));
  EXPECT_THAT(ended.out, IsEmpty());
}

class BadInput : public ::testing::Test {
 protected:
  BadInput()
      : daemon_({.store = "memory:",
                 .listen = "127.0.0.1:0",
                 .arguments = {"--allow-root", dir_.path().string()}}) {}
  ~BadInput() override {
    // Whatever was sent, the daemon still works.
    EXPECT_EQ(daemon_.weft({"run", "echo", "--payload", "alive"}).out, "alive\n");
  }

  // A job that ends as dead because of its payload, with this in its one sentence.
  void expect_dead(const std::string& type, const std::string& payload, const std::string& why) {
    const Ended ended = daemon_.weft({"run", type, "--payload", payload});
    EXPECT_EQ(ended.exit_code, 10) << payload;
    EXPECT_THAT(ended.err, HasSubstr(why));
    EXPECT_THAT(ended.err, MatchesRegex("weft: job [^\n]+\n"));
  }

  TempDir dir_;
  Daemon daemon_;
};

TEST_F(BadInput, AnUnknownHandlerIsRefusedAtSubmit) {
  const Ended ended = daemon_.weft({"submit", "cuont"});
  EXPECT_EQ(ended.exit_code, 1);
  expect_one_sentence(ended, "INVALID_ARGUMENT");
  EXPECT_THAT(ended.err, HasSubstr("did you mean 'count'"));
}

TEST_F(BadInput, AQueueNameOutsideItsAlphabetIsRefused) {
  for (const std::string& name :
       {std::string("Upper"), std::string("with space"), std::string("ü"), std::string(65, 'q')}) {
    const Ended ended = daemon_.weft({"submit", "echo", "--queue", name});
    EXPECT_EQ(ended.exit_code, 1) << name;
    expect_one_sentence(ended, "INVALID_ARGUMENT");
    EXPECT_THAT(ended.err, HasSubstr("queue"));
  }
}

TEST_F(BadInput, APayloadOverTheLimitIsRefused) {
  write_file(dir_.file("large"), std::string((4 << 20) + 1, 'x'));
  const Ended ended = daemon_.weft({"submit", "echo", "--payload", "@" + dir_.file("large")});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("limit"));
  EXPECT_THAT(ended.out, IsEmpty());
  write_file(dir_.file("most"), std::string(4 << 20, 'x'));
  EXPECT_EQ(daemon_.weft({"submit", "echo", "--payload", "@" + dir_.file("most")}).exit_code, 0);
}

TEST_F(BadInput, BrokenJsonEndsTheJobWithItsFault) {
  expect_dead("count", "{\"to\":", "JSON");
  expect_dead("count", "[]", "JSON object");
  expect_dead("count", R"({"to":"ten"})", "to");
  expect_dead("digest", "{}", "path");
}

TEST_F(BadInput, APathOutsideTheRootIsRefused) {
  expect_dead("digest", R"({"path":"/etc"})", "--allow-root");
  expect_dead("digest", json{{"path", dir_.file("../..")}}.dump(), "..");
}

TEST_F(BadInput, APathThroughASymlinkIsRefused) {
  std::filesystem::create_directory_symlink("/etc", dir_.path() / "way-out");
  expect_dead("digest", json{{"path", dir_.file("way-out")}}.dump(), "symlink");
  expect_dead("digest", json{{"path", dir_.file("way-out/ssl")}}.dump(), "symlink");
}

TEST_F(BadInput, ASequenceBeyondTheEndIsRefused) {
  const std::string id = daemon_.submit("count", R"({"to":3})");
  EXPECT_EQ(daemon_.weft({"watch", id}).exit_code, 0);
  const Ended ended = daemon_.weft({"watch", id, "--from", "100"});
  EXPECT_EQ(ended.exit_code, 1);
  expect_one_sentence(ended, "OUT_OF_RANGE");
}

TEST_F(BadInput, AnUnknownIdIsNotFound) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"get", "no-such-job"},
                                             {"watch", "no-such-job"},
                                             {"attach", "no-such-job"},
                                             {"send", "no-such-job", "x"},
                                             {"cancel", "no-such-job"}}) {
    const Ended ended = daemon_.weft(command);
    EXPECT_EQ(ended.exit_code, 13) << command[0];
    expect_one_sentence(ended, "NOT_FOUND");
  }
  EXPECT_EQ(daemon_.weft({"get", "short"}).exit_code, 1);
}

TEST_F(BadInput, ASendToAJobThatHasEndedIsRefused) {
  const std::string id = daemon_.submit("count", R"({"to":3})");
  EXPECT_EQ(daemon_.weft({"watch", id}).exit_code, 0);
  const Ended ended = daemon_.weft({"send", id, "x"});
  EXPECT_EQ(ended.exit_code, 1);
  expect_one_sentence(ended, "FAILED_PRECONDITION");
}

TEST_F(BadInput, ARefusedConnectionIsTold) {
  std::string address;
  {
    const Daemon gone;
    address = gone.address();
  }
  const Ended ended = daemon_.weft({"--server", address, "submit", "echo"});
  EXPECT_EQ(ended.exit_code, 14);
  EXPECT_THAT(ended.err, HasSubstr("no weftd answers at " + address));
  EXPECT_THAT(ended.err, Not(HasSubstr("may have been stored")));
}

TEST_F(BadInput, AnOptionValueThatCannotBeUsedIsAUsageError) {
  const auto expect_usage = [&](const std::vector<std::string>& arguments, const std::string& why) {
    const Ended ended = daemon_.weft(arguments);
    EXPECT_EQ(ended.exit_code, 2) << ended.err;
    EXPECT_THAT(ended.err,
                MatchesRegex("weft: [^\n]+\nweft[a-z ]* --help shows what is possible\n"));
    EXPECT_THAT(ended.err, HasSubstr(why));
    EXPECT_THAT(ended.out, IsEmpty());
  };
  expect_usage({"watch", "0123456789", "--from", "-1"}, "whole number from 1");
  expect_usage({"watch", "0123456789", "--from", "18446744073709551616"}, "whole number from 1");
  expect_usage({"run", "echo", "--deadline", "0"}, "number of seconds");
  expect_usage({"--server", "", "get", "0123456789"}, "HOST:PORT");
  expect_usage({"--server", "127.0.0.1", "get", "0123456789"}, "HOST:PORT");
  expect_usage({"-o"}, "-o needs a value");
  expect_usage({"send", "0123456789", "--foo"}, "weft send ID -- --foo");
  expect_usage({"submit", "\xff"}, "UTF-8");
  expect_usage({"submit", "echo", "--content-type", "\xff"}, "UTF-8");
  expect_usage({"submit", "echo", "--metadata", "a=\xff"}, "UTF-8");
  expect_usage({"cancel", "0123456789", "--reason", "\xff"}, "UTF-8");
}

TEST_F(BadInput, AMessageOfAHundredMegabytesIsRefused) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(-1);
  const auto stub = v1::JobService::NewStub(
      grpc::CreateCustomChannel(daemon_.address(), grpc::InsecureChannelCredentials(), arguments));
  v1::SubmitRequest request;
  request.mutable_spec()->set_type("echo");
  request.mutable_spec()->set_payload(std::string(100 << 20, 'x'));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + Process::kPatience);
  v1::SubmitResponse response;
  const grpc::Status status = stub->Submit(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
}

// A daemon that must not start: a failure exit, nothing on standard output, and a reason.
void expect_no_start(DaemonOptions options, const std::string& why) {
  const Ended ended = run_process(daemon_command(options));
  EXPECT_NE(ended.exit_code, 0);
  EXPECT_LT(ended.exit_code, 128) << "it must end by itself";
  EXPECT_THAT(ended.out, IsEmpty());
  EXPECT_THAT(ended.err, HasSubstr(why));
}

TEST(BadStart, ASecondDaemonOnTheSameFile) {
  const TempDir dir;
  const std::string store = "sqlite:" + dir.file("weft.db");
  const Daemon first({.store = store, .listen = "127.0.0.1:0", .arguments = {}});
  expect_no_start({.store = store, .listen = "127.0.0.1:0", .arguments = {}}, dir.file("weft.db"));
  EXPECT_EQ(first.weft({"run", "echo", "--payload", "alive"}).out, "alive\n");
}

TEST(BadStart, APortInUse) {
  const Daemon first;
  expect_no_start({.store = "memory:", .listen = first.address(), .arguments = {}},
                  first.address());
  EXPECT_EQ(first.weft({"run", "echo", "--payload", "alive"}).out, "alive\n");
}

// Permissions do not stop root, so the folder is one that nobody can write to.
TEST(BadStart, AnUnwritableDirectory) {
  expect_no_start({.store = "sqlite:/proc/weft/weft.db", .listen = "127.0.0.1:0", .arguments = {}},
                  "/proc/weft");
  const TempDir dir;
  write_file(dir.file("file"), "not a folder");
  expect_no_start(
      {.store = "sqlite:" + dir.file("file/weft.db"), .listen = "127.0.0.1:0", .arguments = {}},
      dir.file("file"));
}

TEST(BadStart, ACorruptFile) {
  const TempDir dir;
  write_file(dir.file("weft.db"), std::string(100'000, 'x'));
  expect_no_start(
      {.store = "sqlite:" + dir.file("weft.db"), .listen = "127.0.0.1:0", .arguments = {}},
      dir.file("weft.db"));
}

TEST(BadStart, ADatabaseOfAnotherProgram) {
  const TempDir dir;
  write_file(dir.file("weft.db"), "some text that somebody wants to keep");
  expect_no_start(
      {.store = "sqlite:" + dir.file("weft.db"), .listen = "127.0.0.1:0", .arguments = {}},
      dir.file("weft.db"));
}

TEST(BadStart, AnUnknownOptionOrStore) {
  expect_no_start({.store = "memory:", .listen = "127.0.0.1:0", .arguments = {"--concurency", "5"}},
                  "--concurrency");
  expect_no_start({.store = "mysql:x", .listen = "127.0.0.1:0", .arguments = {}}, "mysql");
  expect_no_start({.store = "memory:", .listen = "nonsense", .arguments = {}}, "nonsense");
}

}  // namespace
}  // namespace weft::testing
