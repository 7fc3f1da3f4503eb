// What README.md's plain handlers offer to the rest of a program.
#pragma once

#include <weft/worker/registry.h>

nlohmann::json sum(const nlohmann::json& numbers);
weft::Generator<std::string> primes(weft::PlainJob job);
void register_plain_examples(weft::Registry& registry);
