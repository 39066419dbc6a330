import { schema, variableNames } from './schema.ts';

/** Heading of each group of variables. */
export const groupTitles = {
  guide: '部署指南的变量 / The deployment guide’s variables',
  tls: '证书 / Certificates',
  ports: '端口与地址 / Ports and addresses',
  paths: '目录与自备组件 / Folders and your own components',
  mirrors: '镜像（中国大陆常用）/ Mirrors',
  service: '业务服务 / Business service',
  backup: '备份 / Backup',
  operation: '运行 / Operation',
} as const;

/** The whole text of `.env.example`, every variable explained in both languages. */
export function renderExample(): string {
  const lines = ['# cp .env.example .env', '# 留空的密钥会在首次部署时自动生成并写回。 Empty secrets are generated at the first deploy and written back.'];
  let group = '';
  for (const name of variableNames) {
    const definition = schema[name];
    if (definition.group !== group) {
      group = definition.group;
      lines.push('', `# ===== ${groupTitles[definition.group]} =====`);
    }
    lines.push('', `# ${definition.zh}`, `# ${definition.en}`, `${name}=${definition.fallback}`);
  }
  return `${lines.join('\n')}\n`;
}
