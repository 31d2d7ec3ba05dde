/* The objects that headers of operators name. No published package has the vendor's own file, so what
   stands here is known of them by name alone and proves nothing. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <acl/acl.h>

#define ACLNN_API __attribute__((visibility("default")))

typedef int32_t aclnnStatus;

typedef struct aclBoolArray aclBoolArray;
typedef struct aclFloatArray aclFloatArray;
typedef struct aclIntArray aclIntArray;
typedef struct aclOpExecutor aclOpExecutor;
typedef struct aclScalar aclScalar;
typedef struct aclScalarList aclScalarList;
typedef struct aclTensor aclTensor;
typedef struct aclTensorList aclTensorList;
