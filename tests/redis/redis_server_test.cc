// The URL of a Redis server.
#include <gtest/gtest.h>

#include <string>

#include <weft/store/redis/redis_server.h>

namespace weft {
namespace {

TEST(RedisUrl, SaysHostPortDatabaseAndLogin) {
  const auto plain = parse_redis_url("redis://queue.example");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->host, "queue.example");
  EXPECT_EQ(plain->port, 6379);
  EXPECT_EQ(plain->database, 0);
  EXPECT_EQ(plain->user, "");
  EXPECT_EQ(plain->password, "");
  EXPECT_EQ(plain->path, "");

  const auto full = parse_redis_url("redis://weft:p%40ss%2Fword%3a@10.0.0.1:7000/12");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(full->user, "weft");
  EXPECT_EQ(full->password, "p@ss/word:");
  EXPECT_EQ(full->host, "10.0.0.1");
  EXPECT_EQ(full->port, 7000);
  EXPECT_EQ(full->database, 12);

  const auto password = parse_redis_url("redis://:a@b@host/");
  ASSERT_TRUE(password.ok()) << password.status();
  EXPECT_EQ(password->user, "");
  EXPECT_EQ(password->password, "a@b");
  EXPECT_EQ(password->host, "host");

  // A file or a variable may have it.
  const auto no_password = parse_redis_url("redis://weft@host");
  ASSERT_TRUE(no_password.ok()) << no_password.status();
  EXPECT_EQ(no_password->user, "weft");
  EXPECT_EQ(no_password->password, "");

  const auto ipv6 = parse_redis_url("redis://[::1]:6380/3");
  ASSERT_TRUE(ipv6.ok()) << ipv6.status();
  EXPECT_EQ(ipv6->host, "::1");
  EXPECT_EQ(ipv6->port, 6380);
  EXPECT_EQ(ipv6->database, 3);
}

TEST(RedisUrl, SaysTheSocket) {
  const auto plain = parse_redis_url("redis+unix:///run/redis.sock");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->path, "/run/redis.sock");
  EXPECT_EQ(plain->host, "");
  const auto full = parse_redis_url("redis+unix://me:secret@/tmp/a%20b@c.sock?db=4");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(full->path, "/tmp/a b@c.sock");
  EXPECT_EQ(full->user, "me");
  EXPECT_EQ(full->password, "secret");
  EXPECT_EQ(full->database, 4);
}

TEST(RedisUrl, IsShownWithoutTheLogin) {
  for (const auto& [url, shown] : {
           std::pair("redis://me:secret@host", "redis://host:6379/0"),
           std::pair("redis://[fe80::1]/2", "redis://[fe80::1]:6379/2"),
           std::pair("redis+unix://me:secret@/run/r.sock", "redis+unix:///run/r.sock"),
           std::pair("redis+unix:///run/r.sock?db=1", "redis+unix:///run/r.sock?db=1"),
       }) {
    const auto server = parse_redis_url(url);
    ASSERT_TRUE(server.ok()) << server.status();
    EXPECT_EQ(to_text(*server), shown);
  }
}

TEST(RedisUrl, RefusesWhatItCannotMeanAndNeverShowsThePassword) {
  const std::string longest(107, 'x');
  EXPECT_TRUE(parse_redis_url("redis+unix:///" + longest.substr(1)).ok());
  for (const std::string& url : {
           std::string(""),
           std::string("localhost:6379"),
           std::string("http://secret@host"),
           std::string("redis://"),
           std::string("redis://:secret@"),
           std::string("redis://:secret@:6379"),
           std::string("redis://:secret@host:"),
           std::string("redis://:secret@host:0"),
           std::string("redis://:secret@host:65536"),
           std::string("redis://:secret@host:12x"),
           std::string("redis://:secret@host:-1"),
           std::string("redis://:secret@host/one"),
           std::string("redis://:secret@host/-1"),
           std::string("redis://:secret@host/1/2"),
           std::string("redis://:secret@host/99999999999"),
           std::string("redis://:secret@host?db=1"),
           std::string("redis://:secret@::1"),
           std::string("redis://:secret@[::1"),
           std::string("redis://:secret@[::1]x"),
           std::string("redis://:secret%4@host"),
           std::string("redis://:secret%zz@host"),
           std::string("redis+unix://:secret@relative.sock"),
           std::string("redis+unix://:secret@"),
           std::string("redis+unix:///a.sock?db=x"),
           std::string("redis+unix:///a.sock?timeout=1"),
           std::string("redis+unix:///a%00b"),
           "redis+unix:///" + longest,
       }) {
    const auto server = parse_redis_url(url);
    EXPECT_EQ(server.status().code(), StatusCode::kInvalidArgument) << url;
    EXPECT_EQ(server.status().ToString().find("secret"), std::string::npos) << server.status();
  }
}

TEST(RedisUrl, SaysWhatToDoAboutTls) {
  const auto server = parse_redis_url("rediss://host");
  EXPECT_EQ(server.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(server.status().message().find("stunnel"), absl::string_view::npos);
}

}  // namespace
}  // namespace weft
