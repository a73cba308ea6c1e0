// What std::terminate does in the shared library, which has a C++ library of its own: ends the process and prints nothing.
#include <cstdlib>

// The one that comes with libstdc++ writes to standard error, and brings a demangler of 50 KB to do so.
namespace __gnu_cxx {
[[noreturn]] void __verbose_terminate_handler();
void __verbose_terminate_handler() { std::abort(); }
}  // namespace __gnu_cxx
