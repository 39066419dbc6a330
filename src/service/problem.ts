import type { ApiProblemCode } from '../contract/problems.ts';

/** An answer in RFC 9457 form; `code` is stable and for programs. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly status: number;
  readonly code: ApiProblemCode;
  constructor(status: number, code: ApiProblemCode, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.status = status;
    this.code = code;
  }
}
