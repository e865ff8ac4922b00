// A PKCS#11 module that passes calls on to SoftHSM and lets some fail, as real devices do and SoftHSM never does.
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { softhsm } from '../support/softhsm.js';

const source = `
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <string.h>

static CK_FUNCTION_LIST *target;
static CK_FUNCTION_LIST list;

/* Each line of the file: a function's name and its return value. */
static CK_RV fault(const char *name) {
  char line[64];
  unsigned long value;
  CK_RV answer = CKR_OK;
  FILE *faults = fopen(FAULTS, "r");
  if (faults == NULL) return CKR_OK;
  while (fscanf(faults, "%63s %lx", line, &value) == 2)
    if (strcmp(line, name) == 0) answer = value;
  fclose(faults);
  return answer;
}

#define PASS(name, parameters, arguments)                       \\
  static CK_RV my_##name parameters {                           \\
    const CK_RV answer = fault(#name);                          \\
    return answer != CKR_OK ? answer : target->name arguments;  \\
  }
PASS(C_Login, (CK_SESSION_HANDLE s, CK_USER_TYPE u, CK_UTF8CHAR *p, CK_ULONG n), (s, u, p, n))
PASS(C_GetMechanismInfo, (CK_SLOT_ID s, CK_MECHANISM_TYPE t, CK_MECHANISM_INFO *i), (s, t, i))
/* What a session keeps for itself is not written to the token. */
static CK_RV my_C_CreateObject(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n, CK_OBJECT_HANDLE *o) {
  for (CK_ULONG i = 0; i < n; ++i)
    if (a[i].type == CKA_TOKEN && *(CK_BBOOL *) a[i].pValue && fault("C_CreateObject") != CKR_OK)
      return fault("C_CreateObject");
  return target->C_CreateObject(s, a, n, o);
}
PASS(C_GenerateKey, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG n, CK_OBJECT_HANDLE *o), (s, m, a, n, o))
PASS(C_GenerateKeyPair, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG n, CK_ATTRIBUTE *b, CK_ULONG k, CK_OBJECT_HANDLE *o, CK_OBJECT_HANDLE *q), (s, m, a, n, b, k, o, q))

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out) {
  if (target == NULL) {
    CK_RV (*get)(CK_FUNCTION_LIST **) = (CK_RV (*)(CK_FUNCTION_LIST **)) dlsym(dlopen(TARGET, RTLD_NOW | RTLD_LOCAL), "C_GetFunctionList");
    get(&target);
    list = *target;
    list.C_Login = my_C_Login;
    list.C_GetMechanismInfo = my_C_GetMechanismInfo;
    list.C_CreateObject = my_C_CreateObject;
    list.C_GenerateKey = my_C_GenerateKey;
    list.C_GenerateKeyPair = my_C_GenerateKeyPair;
  }
  *out = &list;
  return CKR_OK;
}
`;

export class FaultyModule {
  readonly path: string;
  readonly #faults: string;

  constructor(directory: string) {
    this.path = join(directory, 'faulty.so');
    this.#faults = join(directory, 'faults');
    const file = join(directory, 'faulty.c');
    writeFileSync(file, source);
    const defines = [`-DFAULTS="${this.#faults}"`, `-DTARGET="${softhsm}"`];
    const headers = ['-I/usr/include/p11-kit-1'];
    execFileSync('cc', ['-shared', '-fPIC', ...defines, ...headers, '-o', this.path, file, '-ldl'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }

  /** From now on these calls answer so. */
  fail(faults: Readonly<Record<string, number>>): void {
    const lines = Object.entries(faults).map(([name, value]) => `${name} ${value.toString(16)}\n`);
    writeFileSync(this.#faults, lines.join(''));
  }

  works(): void {
    rmSync(this.#faults, { force: true });
  }
}
