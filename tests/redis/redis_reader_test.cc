// From bytes to replies.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include <weft/base/random.h>
#include <weft/store/redis/redis_command.h>
#include <weft/store/redis/redis_reader.h>

namespace weft {
namespace {

// The reply in words: what a test compares.
std::string to_words(const RedisReply& reply) {
  switch (reply.type()) {
    case RedisReply::Type::kNil:
      return "nil";
    case RedisReply::Type::kInteger:
      return std::to_string(reply.integer());
    case RedisReply::Type::kArray: {
      std::string words = "[";
      for (size_t i = 0; i < reply.size(); ++i) words += (i > 0 ? " " : "") + to_words(reply[i]);
      return words + "]";
    }
    case RedisReply::Type::kError:
      return "-" + reply.text();
    case RedisReply::Type::kStatus:
      return "+" + reply.text();
    case RedisReply::Type::kString:
      return "'" + reply.text() + "'";
  }
  return "";
}

constexpr std::string_view kStream =
    "+OK\r\n-ERR no\r\n:-42\r\n$-1\r\n$0\r\n\r\n$4\r\na\r\nb\r\n*-1\r\n*0\r\n"
    "*4\r\n*2\r\n:1\r\n*1\r\n$1\r\nx\r\n$-1\r\n*-1\r\n-E in\r\n:9223372036854775807\r\n";
constexpr std::string_view kWords =
    "+OK -ERR no -42 nil '' 'a\r\nb' nil [] [[1 ['x']] nil nil -E in] 9223372036854775807 ";

TEST(RedisReader, ReadsTheSameHoweverItIsCut) {
  for (size_t size = 1; size <= kStream.size(); ++size) {
    RedisReader reader;
    std::string words;
    for (size_t at = 0; at < kStream.size(); at += size) {
      ASSERT_TRUE(reader.feed(kStream.substr(at, size)).ok());
      for (RedisReply reply;;) {
        const auto whole = reader.next(reply);
        ASSERT_TRUE(whole.ok()) << whole.status();
        if (!*whole) break;
        words += to_words(reply) + " ";
      }
    }
    EXPECT_EQ(words, kWords) << "cut every " << size;
  }
}

TEST(RedisReader, ReadsACommandAsItWasWritten) {
  RedisCommand command("SET");
  command.add("key").add(int64_t{-7}).add(std::string_view("\0\r\n", 3)).add("");
  EXPECT_EQ(command.arguments(), 5u);
  RedisReader reader;
  ASSERT_TRUE(reader.feed(command.text()).ok());
  RedisReply reply;
  ASSERT_TRUE(reader.next(reply).value());
  EXPECT_EQ(to_words(reply), std::string("['SET' 'key' '-7' '\0\r\n' '']", 27));
}

// Of a reader that was given all of `bytes`; not OK: it gave up.
Status read_all(std::string_view bytes, size_t reply_bytes = RedisReader::kReplyBytes) {
  RedisReader reader(reply_bytes);
  if (const Status fed = reader.feed(bytes); !fed.ok()) return fed;
  for (RedisReply reply;;) {
    const auto whole = reader.next(reply);
    if (!whole.ok()) {
      EXPECT_FALSE(reader.next(reply).ok()) << "it stays so";
      return whole.status();
    }
    if (!*whole) return {};
  }
}

TEST(RedisReader, KeepsItsLimits) {
  const std::string most = std::to_string(RedisReader::kArrayElements);
  const std::string more = std::to_string(RedisReader::kArrayElements + 1);
  EXPECT_TRUE(read_all("*" + most + "\r\n").ok());
  EXPECT_FALSE(read_all("*" + more + "\r\n").ok());
  EXPECT_FALSE(read_all("*2\r\n*" + more + "\r\n").ok());
  const std::string seven = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n";
  EXPECT_TRUE(read_all(seven + ":1\r\n").ok());
  EXPECT_FALSE(read_all(seven + "*1\r\n*1\r\n:1\r\n").ok());
  // Of one reply, not of all.
  EXPECT_TRUE(read_all("$94\r\n" + std::string(95, 'x'), 100).ok());
  EXPECT_FALSE(read_all("$94\r\n" + std::string(96, 'x'), 100).ok());
  RedisReader reader(100);
  for (int i = 0; i < 50; ++i) {
    RedisReply reply;
    ASSERT_TRUE(reader.feed("+PONG\r\n").ok());
    ASSERT_TRUE(reader.next(reply).value());
  }
}

TEST(RedisReader, GivesUpOnWhatIsNotRedis) {
  for (const std::string_view bytes : {"HTTP/1.1 200 OK\r\n", "\r\n", "*x\r\n", "$-2\r\n",
                                       ":1x\r\n", "%1\r\n+a\r\n+b\r\n", "*-2\r\n"}) {
    EXPECT_EQ(read_all(bytes).code(), StatusCode::kInternal) << bytes;
  }
}

TEST(RedisReader, SurvivesDamage) {
  Random random(3);
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged(kStream);
    for (uint64_t i = 0; i <= random.below(3); ++i) {
      const size_t at = random.below(damaged.size());
      switch (random.below(3)) {
        case 0:
          damaged[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          damaged.erase(at, 1);
          break;
        default:
          damaged.insert(at, 1, "*$:+-0123456789\r\n"[random.below(17)]);
      }
    }
    static_cast<void>(read_all(damaged));
  }
}

}  // namespace
}  // namespace weft
