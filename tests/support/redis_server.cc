// Starting, asking and ending redis-server.
#include "tests/support/redis_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <thread>

namespace weft::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLook{2};

std::string server_path() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string file = folder + "/redis-server";
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return "/usr/bin/redis-server";
}

std::string to_text(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_INTEGER:
      return std::to_string(reply.integer);
    case REDIS_REPLY_NIL:
      return "";
    case REDIS_REPLY_ERROR:
      return "-" + std::string(reply.str, reply.len);
    case REDIS_REPLY_ARRAY: {
      std::string lines;
      for (size_t i = 0; i < reply.elements; ++i) {
        if (i > 0) lines += '\n';
        lines += to_text(*reply.element[i]);
      }
      return lines;
    }
    default:
      return std::string(reply.str, reply.len);
  }
}

// The state of a process as the kernel tells it: 'T' is stopped.
char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = text.rfind(") ");
  return name_end == std::string::npos ? '?' : text[name_end + 2];
}

}  // namespace

uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  ::close(fd);
  EXPECT_TRUE(bound) << "no free port";
  return ntohs(address.sin_port);
}

RedisProcess::RedisProcess(RedisProcessOptions options) : options_(std::move(options)) {
  std::string name = (std::filesystem::temp_directory_path() / "weft-redis-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp failed";
  folder_ = name;
  // Somebody else may take a free port before the server does.
  for (int tries = options_.tcp ? 5 : 1; tries > 0; --tries) {
    if (options_.tcp) port_ = free_port();
    start();
    if (process_->running() || log().find("Address already in use") == std::string::npos) return;
  }
}

RedisProcess::~RedisProcess() {
  disconnect();
  process_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string RedisProcess::url() const {
  if (port_ == 0) return unix_url();
  const std::string login = options_.password.empty() ? "" : ":" + options_.password + "@";
  return "redis://" + login + "127.0.0.1:" + std::to_string(port_);
}

std::string RedisProcess::unix_url() const {
  const std::string login = options_.password.empty() ? "" : ":" + options_.password + "@";
  return "redis+unix://" + login + socket_path();
}

std::vector<std::string> RedisProcess::command_line() const {
  const bool keeps = !options_.appendfsync.empty();
  std::vector<std::string> line = {
      server_path(), "--dir",        folder_.string(),    "--port", "0", "--bind",
      "127.0.0.1",   "--unixsocket", socket_path(),       "--save", "",  "--logfile",
      "redis.log",   "--appendonly", keeps ? "yes" : "no"};
  if (port_ != 0) line[4] = std::to_string(port_);
  if (keeps) line.insert(line.end(), {"--appendfsync", options_.appendfsync});
  if (!options_.password.empty()) line.insert(line.end(), {"--requirepass", options_.password});
  line.insert(line.end(), options_.arguments.begin(), options_.arguments.end());
  return line;
}

void RedisProcess::start(bool loaded) {
  disconnect();
  process_.emplace(command_line());
  const auto until = Clock::now() + Process::kPatience;
  while (Clock::now() < until) {
    const auto answer = ask({"PING"});
    if (answer && (!loaded || !answer->starts_with("-LOADING"))) return;
    // It has ended: a zombie until it is reaped.
    if (state_of(process_->pid()) == 'Z') break;
    std::this_thread::sleep_for(kLook);
  }
  process_->kill();
  if (log().find("Address already in use") == std::string::npos) {
    ADD_FAILURE() << "redis-server did not start:\n" << log();
  }
}

std::optional<std::string> RedisProcess::ask(const std::vector<std::string>& words) {
  if (connection_ == nullptr) {
    constexpr auto kSeconds = Process::kPatience / std::chrono::seconds(1);
    connection_ = redisConnectUnixWithTimeout(socket_path().c_str(), timeval{kSeconds, 0});
    if (connection_ == nullptr || connection_->err != 0) {
      disconnect();
      return std::nullopt;
    }
    redisSetTimeout(connection_, timeval{kSeconds, 0});
    if (!options_.password.empty()) {
      freeReplyObject(redisCommand(connection_, "AUTH %s", options_.password.c_str()));
    }
  }
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  auto* reply = static_cast<redisReply*>(
      redisCommandArgv(connection_, static_cast<int>(words.size()), texts.data(), sizes.data()));
  if (reply == nullptr) {
    disconnect();
    return std::nullopt;
  }
  std::string text = to_text(*reply);
  freeReplyObject(reply);
  return text;
}

std::string RedisProcess::command(const std::vector<std::string>& words) {
  auto answer = ask(words);
  if (!answer) answer = ask(words);  // the connection was of an earlier start
  if (!answer) ADD_FAILURE() << "redis-server does not answer " << words.front();
  return answer.value_or("");
}

std::string RedisProcess::field(const std::string& name) {
  const std::string text = command({"INFO", "all"});
  const std::string start = "\n" + name + ":";
  const size_t at = text.find(start);
  if (at == std::string::npos) return "";
  const size_t begin = at + start.size();
  return text.substr(begin, text.find_first_of("\r\n", begin) - begin);
}

int64_t RedisProcess::info(const std::string& name) {
  const std::string value = field(name);
  return value.empty() ? -1 : std::atoll(value.c_str());
}

bool RedisProcess::await_field(const std::string& name, const std::string& wanted) {
  const auto until = Clock::now() + Process::kPatience;
  while (Clock::now() < until) {
    if (field(name) == wanted) return true;
    std::this_thread::sleep_for(kLook);
  }
  return false;
}

void RedisProcess::kill() {
  disconnect();
  process_->kill();
}

void RedisProcess::stop() {
  disconnect();
  process_->signal(SIGTERM);
  process_->wait();
}

void RedisProcess::pause() {
  process_->signal(SIGSTOP);
  const auto until = Clock::now() + Process::kPatience;
  while (state_of(process_->pid()) != 'T' && Clock::now() < until) {
    std::this_thread::sleep_for(kLook);
  }
}

void RedisProcess::resume() { process_->signal(SIGCONT); }

void RedisProcess::disconnect() {
  if (connection_ != nullptr) redisFree(connection_);
  connection_ = nullptr;
}

std::string RedisProcess::log() const {
  std::ifstream file(folder_ / "redis.log");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace weft::testing
