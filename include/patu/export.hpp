// The one visibility macro: everything else in the library is hidden.
#pragma once

#define PATU_API [[gnu::visibility("default")]]
