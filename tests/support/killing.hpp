// Ending a process at a place of one's choice.
#pragma once

#include <functional>

#include "patu/netns.hpp"

namespace patu::test {

// Runs `body` in a child that dies before its system call number `call`. False if it ended of itself before that, as it should.
bool kill_before(const Netns& netns, unsigned call, const std::function<bool()>& body);
// How many system calls `body` makes in a child.
unsigned count_calls(const Netns& netns, const std::function<bool()>& body);
// Runs `body` in a child that is killed after so many microseconds. False if it ended of itself before that.
bool kill_after(const Netns& netns, unsigned microseconds, const std::function<bool()>& body);

}  // namespace patu::test
