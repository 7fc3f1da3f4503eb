// FNV-1a with 128 bits. Who makes a collision on purpose only mistakes his own jobs.
#include <absl/numeric/int128.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstring>
#include <string_view>

#include <weft/store/fingerprint.h>

namespace weft {
namespace {

constexpr absl::uint128 kBasis = absl::MakeUint128(0x6c62272e07bb0142, 0x62b821756295c58d);
constexpr absl::uint128 kPrime = absl::MakeUint128(0x0000000001000000, 0x000000000000013b);

absl::uint128 add(absl::uint128 hash, std::string_view bytes) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
  return hash;
}

// Maps in one order always.
std::string serialize(const v1::JobSpec& spec) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  spec.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace

std::string fingerprint(v1::JobSpec& spec) {
  std::string payload;
  std::string id;
  payload.swap(*spec.mutable_payload());
  id.swap(*spec.mutable_id());
  const std::string options = serialize(spec);
  // With its length in front, so that nothing moves from one to the other.
  absl::uint128 hash = add(kBasis, std::to_string(options.size()) + ":");
  hash = add(add(hash, options), payload);
  spec.mutable_payload()->swap(payload);
  spec.mutable_id()->swap(id);
  const uint64_t words[] = {absl::Uint128High64(hash), absl::Uint128Low64(hash)};
  std::string out(sizeof words, '\0');
  std::memcpy(out.data(), words, sizeof words);
  return out;
}

}  // namespace weft
