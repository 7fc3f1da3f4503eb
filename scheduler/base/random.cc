// Seeding from the kernel.
#include <sys/random.h>

#include <weft/base/check.h>
#include <weft/base/random.h>

namespace weft {

std::array<uint64_t, 2> system_random_bits() {
  std::array<uint64_t, 2> bits;
  // Up to 256 bytes come whole, whatever interrupts.
  WEFT_CHECK(getrandom(bits.data(), sizeof(bits), 0) == sizeof(bits),
             "the kernel gives random bytes");
  return bits;
}

Random Random::from_system() { return Random(system_random_bits()[0]); }

}  // namespace weft
