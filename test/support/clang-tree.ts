// Classes and functions of a C++ file as clang's own syntax tree has them
import { execFileSync } from 'node:child_process';

interface Place {
  readonly line?: number;
  readonly file?: string;
  readonly spellingLoc?: Place;
  readonly expansionLoc?: Place;
}
interface Node {
  readonly kind?: string;
  readonly name?: string;
  readonly access?: string;
  readonly tagUsed?: string;
  readonly isImplicit?: boolean;
  readonly explicitlyDefaulted?: string;
  readonly explicitlyDeleted?: boolean;
  readonly completeDefinition?: boolean;
  readonly definitionData?: { readonly isLambda?: boolean };
  readonly type?: { readonly qualType: string };
  readonly loc?: Place;
  readonly range?: { readonly begin: Place; readonly end: Place };
  readonly inner?: readonly Node[];
}

export interface ClangClass {
  fields: number;
  publicMethods: number;
  methods: number;
}
export interface ClangFunction {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  readonly bools: readonly string[];
}

const isFunction = ({ kind = '' }: Node): boolean =>
  /^(Function|CXXMethod|CXXConstructor|CXXDestructor|CXXConversion)Decl$/.test(kind);

function membersOf(node: Node): ClangClass {
  const counted = { fields: 0, publicMethods: 0, methods: 0 };
  let access = node.tagUsed === 'class' ? 'private' : 'public';
  for (const member of node.inner ?? []) {
    if (member.kind === 'AccessSpecDecl') access = member.access ?? access;
    if (member.kind === 'FieldDecl') counted.fields += 1;
    const method = member.kind === 'FunctionTemplateDecl' ? member.inner?.find(isFunction) : member;
    if (method === undefined || !/^CXX(Method|Conversion)Decl$/.test(method.kind ?? '')) continue;
    if (method.isImplicit === true || method.name === 'operator=') continue;
    if (method.explicitlyDefaulted !== undefined || method.explicitlyDeleted === true) continue;
    counted.methods += 1;
    if (access === 'public') counted.publicMethods += 1;
  }
  return counted;
}

/** The classes by name, and the functions in the order of the file. */
export function readByClang(file: string): { classes: Map<string, ClangClass>; functions: ClangFunction[] } {
  const json = execFileSync(
    'clang++',
    ['-std=c++20', '-fsyntax-only', '-w', '-Xclang', '-ast-dump=json', file],
    {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    },
  );
  const classes = new Map<string, ClangClass>();
  const functions: ClangFunction[] = [];
  // The tree names a line only where it differs from the one named before.
  let current = 0;
  const lineOf = (place: Place | undefined): number => {
    if (place?.spellingLoc !== undefined) lineOf(place.spellingLoc);
    if (place?.expansionLoc !== undefined) return lineOf(place.expansionLoc);
    current = place?.line ?? current;
    return current;
  };
  const visit = (node: Node, names: readonly string[], templateLine?: number): void => {
    lineOf(node.loc);
    const begin = lineOf(node.range?.begin);
    const end = lineOf(node.range?.end);
    let inner = names;
    const isLambda = node.kind === 'LambdaExpr' || node.definitionData?.isLambda === true;
    if (isLambda || node.kind?.includes('Specialization') === true) {
      // Lambdas are classes with methods to clang only; a specialisation repeats its template.
      for (const child of node.inner ?? []) skip(child);
      return;
    }
    if (node.kind === 'CXXRecordDecl' && node.isImplicit !== true) {
      inner = [...names, node.name ?? '(unnamed)'];
      if (node.completeDefinition === true) classes.set(inner.join('::'), membersOf(node));
    } else if (isFunction(node) && node.isImplicit !== true) {
      inner = [...names, node.name ?? ''];
      const parameters = (node.inner ?? []).filter(({ kind }) => kind === 'ParmVarDecl');
      const line = templateLine ?? begin;
      const isWritten = node.explicitlyDefaulted === undefined;
      const hasBody =
        isWritten && (node.inner ?? []).some(({ kind = '' }) => /^(CompoundStmt|CXXTryStmt)$/.test(kind));
      functions.push({
        name: (node.name ?? '').replace(/^(~?\w+)<.*>$/, '$1'),
        line,
        lines: hasBody ? end - line + 1 : 0,
        bools: parameters
          .filter(({ type }) => /^(const )?bool$/.test(type?.qualType ?? ''))
          .map(({ name }) => name ?? ''),
      });
    }
    const line = node.kind === 'FunctionTemplateDecl' ? begin : undefined;
    let isFirst = true;
    for (const child of node.inner ?? []) {
      // Instantiations follow the template itself.
      if (node.kind === 'FunctionTemplateDecl' && isFunction(child) && !isFirst) skip(child);
      else visit(child, inner, line);
      if (isFunction(child)) isFirst = false;
    }
  };
  const skip = (node: Node): void => {
    lineOf(node.loc);
    lineOf(node.range?.begin);
    lineOf(node.range?.end);
    for (const child of node.inner ?? []) skip(child);
  };
  visit(JSON.parse(json) as Node, []);
  return { classes, functions };
}
