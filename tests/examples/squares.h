// What README.md's example offers to the rest of a program.
#pragma once

#include <weft/worker/registry.h>

weft::Stream<std::string> squares(weft::Job job);
void register_examples(weft::Registry& registry);
