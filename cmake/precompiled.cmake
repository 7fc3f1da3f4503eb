# Precompiled headers of other people's code: half of what a compiler reads. Ours are not in there,
# so a change to one recompiles only what includes it.

# weft_precompiled(NAME HEADERS headers... DEPENDS targets...): makes a set of headers.
function(weft_precompiled name)
  cmake_parse_arguments(ARG "" "" "HEADERS;DEPENDS" ${ARGN})
  set(source ${CMAKE_BINARY_DIR}/precompiled/${name}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "")
  add_library(weft_headers_${name} OBJECT ${source})
  target_link_libraries(weft_headers_${name} PRIVATE ${ARG_DEPENDS} weft_build)
  list(TRANSFORM ARG_HEADERS REPLACE "(.+)" "<\\1>")
  target_precompile_headers(weft_headers_${name} PRIVATE ${ARG_HEADERS})
endfunction()

# weft_use_precompiled(NAME targets...): compiles these targets with a set.
function(weft_use_precompiled name)
  foreach(target ${ARGN})
    target_precompile_headers(${target} REUSE_FROM weft_headers_${name})
  endforeach()
endfunction()

set(standard algorithm chrono coroutine cstdint cstdio deque functional map memory optional set
  string string_view thread utility variant vector)
set(messages ${standard} absl/container/flat_hash_map.h absl/status/status.h
  absl/status/statusor.h weft/v1/job.pb.h)
set(calls ${messages} grpcpp/grpcpp.h weft/v1/job_service.grpc.pb.h)
set(test gmock/gmock.h gtest/gtest.h filesystem fstream sstream)
find_package(GTest REQUIRED)
weft_precompiled(messages HEADERS ${messages} DEPENDS weft::proto)
weft_precompiled(calls HEADERS ${calls} DEPENDS weft::proto)
weft_precompiled(test HEADERS ${standard} ${test} absl/status/statusor.h
  DEPENDS GTest::gmock)
weft_precompiled(test_messages HEADERS ${messages} ${test} DEPENDS weft::proto GTest::gmock)
weft_precompiled(test_calls HEADERS ${calls} ${test} DEPENDS weft::proto GTest::gmock)
