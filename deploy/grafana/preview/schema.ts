import { Dashboard } from '@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen';

export type D = Dashboard;
