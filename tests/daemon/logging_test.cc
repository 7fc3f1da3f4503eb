// That every log line is one JSON object whatever was logged.
#include "daemon/logging.h"

#include <gtest/gtest.h>
#include <spdlog/details/log_msg.h>

#include <nlohmann/json.hpp>

#include <weft/base/random.h>

namespace weft {
namespace {

std::string line_of(const std::string& message) {
  spdlog::details::log_msg log("weft", spdlog::level::warn, message);
  spdlog::memory_buf_t out;
  make_json_formatter()->format(log, out);
  return std::string(out.data(), out.size());
}

TEST(JsonLog, LineIsOneObjectWithTimeLevelAndMessage) {
  const std::string line = line_of("a \"quoted\"\n\ttext \\ with \x01");
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto object = nlohmann::json::parse(line);
  EXPECT_EQ(object["message"], "a \"quoted\"\n\ttext \\ with \x01");
  EXPECT_EQ(object["level"], "warning");
  const std::string time = object["time"];
  EXPECT_EQ(time.size(), 24u);
  EXPECT_EQ(time.back(), 'Z');
}

TEST(JsonLog, ValidUtf8IsKept) {
  for (const char* text : {"gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    EXPECT_EQ(nlohmann::json::parse(line_of(text))["message"], text);
  }
}

TEST(JsonLog, BytesThatAreNotUtf8BecomeTheReplacementCharacter) {
  for (const char* text : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    const std::string message = nlohmann::json::parse(line_of(text))["message"];
    EXPECT_NE(message.find("\xef\xbf\xbd"), std::string::npos);
  }
}

TEST(JsonLog, AnyBytesMakeAValidLine) {
  Random random(11);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random.below(40), '\0');
    for (char& c : text) c = static_cast<char>(random.below(256));
    const std::string line = line_of(text);
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    EXPECT_EQ(line.find('\n'), line.size() - 1);
  }
}

}  // namespace
}  // namespace weft
