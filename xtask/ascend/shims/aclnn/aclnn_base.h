/* In place of the vendor's file, which no published package has. */
#pragma once

#include "acl_meta.h"
